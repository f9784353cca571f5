package wit_runtime

import "unsafe"

// realloc is how the host asks for memory; it only ever asks for new one.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil || oldSize != 0 {
		panic("memory that the host was given cannot grow")
	}
	return Allocate(&pinned, size, align)
}
