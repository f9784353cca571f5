// Package projection is for plugins that fold events into documents.
package projection

import (
	"wasmill"
	"wasmill/internal/engine"
)

// Plugin is a projection.
type Plugin struct {
	Descriptor wasmill.Descriptor
	// Apply folds one event. It leaves alone those that it does not know.
	Apply func(event *wasmill.Event, state wasmill.State) error
}

// Register makes it the plugin of this component.
func Register(plugin Plugin) { engine.Registered = plugin }

func (p Plugin) Describe() string { return p.Descriptor.Describe("projection") }

// Run is called by the host.
func (p Plugin) Run(events []*engine.Event) ([]engine.Lifted, *engine.Failure) {
	return nil, engine.Fold(events, func(event *engine.Event) error {
		return p.Apply(event, wasmill.State{})
	})
}
