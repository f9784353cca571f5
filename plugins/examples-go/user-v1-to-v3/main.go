// Lifts user.added to the version that is published today.
package main

import (
	"encoding/json"
	"strings"

	"examples-go/users"
	"wasmill"
	"wasmill/upcaster"
)

// Plugin is what the component is made of, and what the tests run.
var Plugin = upcaster.Plugin{
	Descriptor: wasmill.Descriptor{
		Name:        "user-v1-to-v3",
		Version:     "1.0.0",
		Description: "Two names instead of one, and always a country",
	},
	Lifts: []upcaster.Lift{
		{Type: "user.added", Version: 1, ToVersion: 2, Lift: splitName},
		{Type: "user.added", Version: 2, ToVersion: 3, Lift: addCountry},
	},
}

func init() { upcaster.Register(Plugin) }

func main() {}

func splitName(event *wasmill.Event) (any, error) {
	data, err := users.Object(event)
	if err != nil {
		return nil, err
	}
	var name *string
	if json.Unmarshal(data["name"], &name) != nil || name == nil {
		return nil, users.Malformed("the name is not a string")
	}
	delete(data, "name")
	first, last, _ := strings.Cut(strings.Trim(*name, " "), " ")
	return with(data, "firstName", first, "lastName", last)
}

func addCountry(event *wasmill.Event) (any, error) {
	data, err := users.Object(event)
	if err != nil {
		return nil, err
	}
	if country := data["country"]; country == nil || string(country) == "null" {
		return with(data, "country", "unknown")
	}
	return data, nil
}

// with adds strings to an object: names and values in turn.
func with(data map[string]json.RawMessage, pairs ...string) (any, error) {
	for n := 0; n < len(pairs); n += 2 {
		value, err := json.Marshal(pairs[n+1])
		if err != nil {
			return nil, err
		}
		data[pairs[n]] = value
	}
	return data, nil
}
