// Package users has what the projection and the handler know of users.
package users

import (
	"encoding/json"

	"wasmill"
)

// User is the data of user.added and user.removed.
type User struct {
	ID        string
	FirstName string
	Name      string
	Country   string
}

// Of reads the data of an event. Names that are not strings are taken as missing, the id and the country are not.
func Of(event *wasmill.Event) (user User, err error) {
	data, err := Object(event)
	if err != nil {
		return user, err
	}
	if user.ID = text(data["id"]); user.ID == "" {
		return user, Malformed("%s without the user's id", event.Type)
	}
	user.FirstName, user.Name = text(data["firstName"]), text(data["name"])
	return user, nil
}

// Country is where a user is.
func Country(event *wasmill.Event) (string, error) {
	data, err := Object(event)
	if err != nil {
		return "", err
	}
	if country := data["country"]; country == nil || string(country) == "null" {
		return "unknown", nil
	}
	country := text(data["country"])
	if country == "" {
		return "", Malformed("the country is not a name")
	}
	return country, nil
}

// Object is the data as an object.
func Object(event *wasmill.Event) (data map[string]json.RawMessage, err error) {
	if err := event.Decode(&data); err != nil || data == nil {
		return nil, Malformed("the data of %s is not an object", event.Type)
	}
	return data, nil
}

func Malformed(format string, values ...any) error {
	return wasmill.Reject("user.malformed", format, values...)
}

// text is a JSON string, or empty for whatever else it is.
func text(value json.RawMessage) (text string) {
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}
