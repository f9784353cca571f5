package engine

import (
	"maps"
	"slices"
)

// Host is what the contract gives a plugin, in types of Go. A kind has the parts that its world imports.
type Host struct {
	Common
	Documents
	Outbox
}

// Common is what every kind has.
type Common interface {
	Config(key string) (string, bool)
	Details(index uint32) [][2]string
	Log(level Level, message string, fields [][2]string)
}

// Documents is what projections and handlers have.
type Documents interface {
	Get(collection, key string) ([]byte, bool)
	Put(collection, key string, document []byte)
	Remove(collection, key string)
	// Scan returns a page in the byte order of the keys, from behind after, or from the first if that is nil.
	Scan(collection, prefix string, after *string, limit uint32) (page []Entry, more *string)
}

// Outbox is what handlers have.
type Outbox interface {
	Append(cause uint32, stream string, event NewEvent, data []byte)
	NowUs() uint64
	Random(length uint32) []byte
}

type Level uint8

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Entry is a document with its key.
type Entry struct {
	Key      string
	Document []byte
}

// NewEvent is an event to be appended.
type NewEvent struct {
	Type string
	// 1 when it is 0.
	SchemaVersion uint32
	// None when it is empty: the stream decides then.
	Key string
	// Becomes JSON; a json.RawMessage is taken as it is.
	Data       any
	Attributes map[string]string
}

// Current is the host that runs the plugin: the component's, or that of a test.
var Current Host

// Pairs are the entries of a map in the order of their names, since a map has none.
func Pairs(fields map[string]string) [][2]string {
	var pairs [][2]string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		pairs = append(pairs, [2]string{name, fields[name]})
	}
	return pairs
}
