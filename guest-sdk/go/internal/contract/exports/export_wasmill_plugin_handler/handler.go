//go:build wasm

// Package export_wasmill_plugin_handler is called by the generated bindings.
package export_wasmill_plugin_handler

import (
	"wasmill/internal/contract/imports/wasmill_plugin_events"
	"wasmill/internal/contract/imports/wasmill_plugin_outcomes"
	"wasmill/internal/engine"
	witTypes "wasmill/internal/wit/types"
)

func Handle(events []wasmill_plugin_events.Event) witTypes.Result[witTypes.Unit, wasmill_plugin_outcomes.Failure] {
	_, failure := engine.Registered.Run(engine.FromContract(events))
	return engine.Outcome(failure)
}
