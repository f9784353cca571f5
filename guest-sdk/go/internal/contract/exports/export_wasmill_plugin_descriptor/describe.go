// Package export_wasmill_plugin_descriptor is called by the generated bindings.
package export_wasmill_plugin_descriptor

import "wasmill/internal/engine"

func Describe() string { return engine.Registered.Describe() }
