//go:build wasm

// Package export_wasmill_plugin_upcaster is called by the generated bindings.
package export_wasmill_plugin_upcaster

import (
	"wasmill/internal/contract/imports/wasmill_plugin_events"
	"wasmill/internal/contract/imports/wasmill_plugin_outcomes"
	contract "wasmill/internal/contract/imports/wasmill_plugin_upcaster"
	"wasmill/internal/engine"
	witTypes "wasmill/internal/wit/types"
)

func Upcast(events []wasmill_plugin_events.Event) witTypes.Result[[]contract.Upcasted, wasmill_plugin_outcomes.Failure] {
	lifted, failure := engine.Registered.Run(engine.FromContract(events))
	if failure != nil {
		return witTypes.Err[[]contract.Upcasted](engine.ToContract(failure))
	}
	upcasted := make([]contract.Upcasted, len(lifted))
	for n, one := range lifted {
		upcasted[n] = toContract(one)
	}
	return witTypes.Ok[[]contract.Upcasted, wasmill_plugin_outcomes.Failure](upcasted)
}

func toContract(lifted engine.Lifted) contract.Upcasted {
	switch {
	case lifted.Failure != nil:
		return contract.MakeUpcastedFailed(engine.ToContract(lifted.Failure))
	case lifted.Data != nil:
		return contract.MakeUpcastedReplaced(contract.Lifted{
			EventType:     lifted.Type,
			SchemaVersion: lifted.SchemaVersion,
			Data:          lifted.Data,
		})
	default:
		return contract.MakeUpcastedUnchanged()
	}
}
