package projection

import (
	// The exports of the component.
	_ "wasmill/internal/contract/projection"
	"wasmill/internal/engine"
)

func init() { engine.Current = engine.HostWithDocuments() }
