// Package engine runs plugins: what the packages of the kinds share.
package engine

import "encoding/json"

// Event is an event of the present batch.
type Event struct {
	// Place in the whole log and in its stream, both from 0.
	Position, Offset uint64
	// When it happened, in microseconds since the Unix epoch: a projection's only clock.
	TimeUs uint64
	// The high and the low half of its UUID.
	ID [2]uint64
	// The version of its schema, after upcasting.
	SchemaVersion uint32
	Type, Stream  string
	// The ordering key, and the correlation id; empty when there is none.
	Key, CorrelationID string
	// The data as it was published.
	Data []byte

	index uint32
}

// Decode reads the event's data as JSON.
func (e *Event) Decode(into any) error { return json.Unmarshal(e.Data, into) }

// Details is what is rarely read of an event, by name; several tags are joined by commas. It asks the host.
func (e *Event) Details() map[string]string {
	details := map[string]string{}
	for _, pair := range Current.Details(e.index) {
		if before, ok := details[pair[0]]; ok {
			pair[1] = before + "," + pair[1]
		}
		details[pair[0]] = pair[1]
	}
	return details
}
