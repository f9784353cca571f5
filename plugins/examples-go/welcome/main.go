// Asks for a welcome, once for each user.
package main

import (
	"fmt"

	"examples-go/users"
	"wasmill"
	"wasmill/handler"
)

// Plugin is what the component is made of, and what the tests run.
var Plugin = handler.Plugin{
	Descriptor: wasmill.Descriptor{
		Name:        "welcome",
		Version:     "1.0.0",
		Description: "Asks for a welcome, once for each user",
		Subscribes:  []wasmill.Subscription{{Types: []string{"user.added"}}},
		Collections: []wasmill.Collection{{Name: "greeted", Description: "By id: who was welcomed, and when"}},
		Config: []wasmill.Setting{
			{Name: "greeting", Description: "The first word of a welcome", Default: wasmill.Default("Welcome")},
		},
		Capabilities: []string{"append:outbox-welcome"},
	},
	Handle: welcome,
}

func init() { handler.Register(Plugin) }

func main() {}

type greeted struct {
	AtUs uint64 `json:"atUs"`
}

type requested struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

func welcome(event *wasmill.Event, state wasmill.State, emit handler.Emit) error {
	user, err := users.Of(event)
	if err != nil {
		return err
	}
	var before greeted
	if found, err := state.Get("greeted", user.ID, &before); found || err != nil {
		return err
	}
	greeting, _ := wasmill.Config("greeting")
	name := user.ID
	for _, given := range []string{user.Name, user.FirstName} {
		if given != "" {
			name = given
		}
	}
	data := requested{user.ID, fmt.Sprintf("%s, %s!", greeting, name)}
	if err := emit("outbox-welcome", wasmill.NewEvent{Type: "welcome.requested", Key: user.ID, Data: data}); err != nil {
		return err
	}
	wasmill.Info("a welcome is asked for", wasmill.Fields{"user": user.ID})
	return state.Put("greeted", user.ID, greeted{event.TimeUs})
}
