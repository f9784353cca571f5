package wasmill

import (
	"encoding/json"

	"wasmill/internal/engine"
)

// Descriptor is who a plugin is and what it asks of the host: wit/descriptor.schema.json says more of each field.
type Descriptor struct {
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	Kind         string         `json:"kind"`
	Description  string         `json:"description,omitempty"`
	Subscribes   []Subscription `json:"subscribes,omitempty"`
	Collections  []Collection   `json:"collections,omitempty"`
	ByKey        bool           `json:"byKey,omitempty"`
	Config       []Setting      `json:"config,omitempty"`
	Schemas      []Schema       `json:"schemas,omitempty"`
	Lifts        []Lift         `json:"lifts,omitempty"`
	Capabilities []string       `json:"capabilities,omitempty"`
}

// Subscription has patterns of streams and of types; an event has to match both, where they are given.
type Subscription struct {
	Streams []string `json:"streams,omitempty"`
	Types   []string `json:"types,omitempty"`
}

// Collection is where documents are kept.
type Collection struct {
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"`
	Indexes     []Index `json:"indexes,omitempty"`
}

// Index is a field that documents can be found and sorted by.
type Index struct {
	Field string `json:"field"`
}

// Setting is what an operator can set.
type Setting struct {
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"`
	Default     *string `json:"default,omitempty"`
	Required    bool    `json:"required,omitempty"`
}

// Default is the value of a setting that is not set.
func Default(value string) *string { return &value }

// Schema is a JSON Schema of an event type.
type Schema struct {
	Type    string          `json:"type"`
	Version uint32          `json:"version"`
	Schema  json.RawMessage `json:"schema"`
}

// Lift is what an upcaster lifts; the package upcaster fills it in.
type Lift struct {
	Type      string `json:"type"`
	Version   uint32 `json:"version"`
	ToType    string `json:"toType,omitempty"`
	ToVersion uint32 `json:"toVersion"`
}

// Describe returns the descriptor of a plugin of a kind, as JSON.
func (d Descriptor) Describe(kind string) string {
	d.Kind = kind
	text, err := engine.Encode(d)
	if err != nil {
		// A schema that is not JSON: the build's own mistake, shown when the component is deployed.
		panic(err)
	}
	return string(text)
}
