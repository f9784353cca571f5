// How many users were added and removed, in all and by country.
package main

import (
	"examples-go/users"
	"wasmill"
	"wasmill/projection"
)

// Plugin is what the component is made of, and what the tests run.
var Plugin = projection.Plugin{
	Descriptor: wasmill.Descriptor{
		Name:        "user-statistics",
		Version:     "1.0.0",
		Description: "Users added and removed, in all and by country",
		Subscribes:  []wasmill.Subscription{{Types: []string{"user.*"}}},
		Collections: []wasmill.Collection{
			{Name: "statistics", Description: "Under `all` and under `country.NO`: added, removed, current"},
			{Name: "users", Description: "By id: the users of now"},
		},
	},
	Apply: func(event *wasmill.Event, state wasmill.State) error {
		switch event.Type {
		case "user.added":
			return added(event, state)
		case "user.removed":
			return removed(event, state)
		}
		return nil
	},
}

func init() { projection.Register(Plugin) }

func main() {}

type statistics struct {
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Current int `json:"current"`
}

type user struct {
	Country string `json:"country"`
}

func added(event *wasmill.Event, state wasmill.State) error {
	data, err := users.Of(event)
	if err != nil {
		return err
	}
	country, err := users.Country(event)
	if err != nil {
		return err
	}
	var known user
	if found, err := state.Get("users", data.ID, &known); found || err != nil {
		return err
	}
	if err := state.Put("users", data.ID, user{country}); err != nil {
		return err
	}
	return count(state, country, func(s *statistics) { s.Added++ })
}

func removed(event *wasmill.Event, state wasmill.State) error {
	data, err := users.Of(event)
	if err != nil {
		return err
	}
	var known user
	if found, err := state.Get("users", data.ID, &known); !found || err != nil {
		return err
	}
	state.Remove("users", data.ID)
	return count(state, known.Country, func(s *statistics) { s.Removed++ })
}

func count(state wasmill.State, country string, change func(*statistics)) error {
	for _, key := range []string{"all", "country." + country} {
		var s statistics
		if _, err := state.Get("statistics", key, &s); err != nil {
			return err
		}
		change(&s)
		s.Current = s.Added - s.Removed
		if err := state.Put("statistics", key, s); err != nil {
			return err
		}
	}
	return nil
}
