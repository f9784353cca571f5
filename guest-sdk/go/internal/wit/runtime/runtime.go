// Package wit_runtime has the memory that crosses the border of the component, as the generated bindings want it.
//
// Go's collector does not see what only the host points to, so whatever the host is given or gives is pinned.
package wit_runtime

import (
	"runtime"
	"unsafe"
)

// pinned is what the host has had allocated since the last call began.
var pinned runtime.Pinner

// Unpin gives back to the collector what the host has passed in. The bindings call it when everything is lifted into
// values of Go, which keep alive what they point to.
func Unpin() { pinned.Unpin() }

// Allocate returns memory that stays where it is until the pinner lets go of it.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// Words of 8 bytes are aligned for everything of the component model.
	memory := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	pinner.Pin(memory)
	return memory
}
