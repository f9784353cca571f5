package engine

import (
	"bytes"
	"encoding/json"
)

// Plugin is a plugin of any kind.
type Plugin interface {
	// Describe returns the descriptor as JSON.
	Describe() string
	// Run works on a batch. Only an upcaster has results: one for each event.
	Run(events []*Event) ([]Lifted, *Failure)
}

// Registered is the plugin of this component.
var Registered Plugin

// Lifted is what an upcaster makes of an event: unchanged without Data, and failed with a Failure.
type Lifted struct {
	Type          string
	SchemaVersion uint32
	Data          []byte
	Failure       *Failure
}

// Fold runs step over the events, in order, until one fails.
func Fold(events []*Event, step func(*Event) error) *Failure {
	for n, event := range events {
		event.index = uint32(n)
		if err := guarded(func() error { return step(event) }); err != nil {
			return failureOf(err, n)
		}
	}
	return nil
}

// Lift runs step over the events; a failure is of its event alone.
func Lift(events []*Event, step func(*Event) (Lifted, error)) []Lifted {
	lifted := make([]Lifted, len(events))
	for n, event := range events {
		event.index = uint32(n)
		err := guarded(func() (err error) {
			lifted[n], err = step(event)
			return err
		})
		if err != nil {
			lifted[n] = Lifted{Failure: failureOf(err, n)}
		}
	}
	return lifted
}

// Encode makes JSON of a value, without the escapes that Go adds for HTML.
func Encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
