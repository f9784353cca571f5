// Package upcaster is for plugins that lift events of old schema versions, for every reader.
package upcaster

import (
	"wasmill"
	"wasmill/internal/engine"
)

// Plugin is an upcaster.
type Plugin struct {
	Descriptor wasmill.Descriptor
	// Steps chain by themselves: one for each version.
	Lifts []Lift
}

// Lift makes events of a type and version into those of a newer one.
type Lift struct {
	Type    string
	Version uint32
	// The same type when it is empty.
	ToType    string
	ToVersion uint32
	// Lift returns the newer data, which becomes JSON; a json.RawMessage is taken as it is. An error fails this event
	// alone.
	Lift func(event *wasmill.Event) (data any, err error)
}

// Register makes it the plugin of this component.
func Register(plugin Plugin) { engine.Registered = plugin }

func (p Plugin) Describe() string {
	descriptor := p.Descriptor
	for _, lift := range p.Lifts {
		declared := wasmill.Lift{Type: lift.Type, Version: lift.Version, ToType: lift.ToType, ToVersion: lift.ToVersion}
		descriptor.Lifts = append(descriptor.Lifts, declared)
	}
	return descriptor.Describe("upcaster")
}

// Run is called by the host.
func (p Plugin) Run(events []*engine.Event) ([]engine.Lifted, *engine.Failure) {
	return engine.Lift(events, p.lift), nil
}

func (p Plugin) lift(event *engine.Event) (engine.Lifted, error) {
	for _, lift := range p.Lifts {
		if lift.Type != event.Type || lift.Version != event.SchemaVersion {
			continue
		}
		newer, err := lift.Lift(event)
		if err != nil {
			return engine.Lifted{}, err
		}
		data, err := engine.Encode(newer)
		lifted := engine.Lifted{Type: lift.ToType, SchemaVersion: lift.ToVersion, Data: data}
		if lifted.Type == "" {
			lifted.Type = event.Type
		}
		return lifted, err
	}
	return engine.Lifted{}, nil
}
