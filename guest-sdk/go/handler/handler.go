// Package handler is for plugins that answer events with events.
package handler

import (
	"wasmill"
	"wasmill/internal/engine"
)

// Plugin is a handler. Descriptor.Capabilities asks for the streams that it appends to: "append:PATTERN".
type Plugin struct {
	Descriptor wasmill.Descriptor
	// Handle reacts to one event. It leaves alone those that it does not know.
	Handle func(event *wasmill.Event, state wasmill.State, emit Emit) error
}

// Emit appends events in answer to the present one. They, the state and the progress are one commit, so nothing is
// appended twice.
type Emit func(stream string, events ...wasmill.NewEvent) error

// Register makes it the plugin of this component.
func Register(plugin Plugin) { engine.Registered = plugin }

func (p Plugin) Describe() string { return p.Descriptor.Describe("handler") }

// Run is called by the host.
func (p Plugin) Run(events []*engine.Event) ([]engine.Lifted, *engine.Failure) {
	cause := uint32(0)
	emit := func(stream string, events ...wasmill.NewEvent) error {
		for _, event := range events {
			data, err := engine.Encode(event.Data)
			if err != nil {
				return err
			}
			engine.Current.Append(cause, stream, event, data)
		}
		return nil
	}
	return nil, engine.Fold(events, func(event *engine.Event) error {
		err := p.Handle(event, wasmill.State{}, emit)
		cause++
		return err
	})
}

// NowUs is the real time, in microseconds since the Unix epoch.
func NowUs() uint64 { return engine.Current.NowUs() }

// Random returns random bytes.
func Random(length uint32) []byte { return engine.Current.Random(length) }
