package handler

import (
	// The exports of the component.
	_ "wasmill/internal/contract/handler"
	"wasmill/internal/engine"
)

func init() { engine.Current = engine.HostWithOutbox() }
