package engine

import (
	"wasmill/internal/contract/imports/wasmill_plugin_events"
	"wasmill/internal/contract/imports/wasmill_plugin_outcomes"
	witTypes "wasmill/internal/wit/types"
)

// FromContract makes the events of a batch of what the bindings have lifted.
func FromContract(records []wasmill_plugin_events.Event) []*Event {
	events := make([]*Event, len(records))
	for n, record := range records {
		events[n] = &Event{
			Position:      record.Position,
			Offset:        record.Offset,
			TimeUs:        record.TimeUs,
			ID:            [2]uint64{record.Id.F0, record.Id.F1},
			SchemaVersion: record.SchemaVersion,
			Type:          record.EventType,
			Stream:        record.StreamName,
			Key:           record.Key.Some(),
			CorrelationID: record.CorrelationId.Some(),
			Data:          record.Data,
		}
	}
	return events
}

// ToContract makes the record of the contract of a failure.
func ToContract(failure *Failure) wasmill_plugin_outcomes.Failure {
	record := wasmill_plugin_outcomes.Failure{
		Disposition: uint8(failure.Disposition),
		Code:        failure.Code,
		Message:     failure.Message,
		Attributes:  attributes(Pairs(failure.Attributes)),
	}
	if failure.RetryAfter > 0 {
		record.RetryAfterMs = witTypes.Some(uint32(failure.RetryAfter.Milliseconds()))
	}
	if failure.Index >= 0 {
		record.EventIndex = witTypes.Some(uint32(failure.Index))
	}
	return record
}

// Outcome is what a projection and a handler return.
func Outcome(failure *Failure) witTypes.Result[witTypes.Unit, wasmill_plugin_outcomes.Failure] {
	if failure == nil {
		return witTypes.Ok[witTypes.Unit, wasmill_plugin_outcomes.Failure](witTypes.Unit{})
	}
	return witTypes.Err[witTypes.Unit](ToContract(failure))
}
