package upcaster

import (
	// The exports of the component.
	_ "wasmill/internal/contract/upcaster"
	"wasmill/internal/engine"
)

func init() { engine.Current = engine.CommonHost() }
