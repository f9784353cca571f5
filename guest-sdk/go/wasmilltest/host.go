// Package wasmilltest is a host in memory, to test plugins with in Go: no Wasm, no server.
//
//	host := wasmilltest.New(t, plugin)
//	host.Feed(wasmilltest.Event{Stream: "order-1", Type: "order.placed", Data: map[string]any{"pence": 120}})
package wasmilltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"wasmill"
	"wasmill/internal/engine"
)

// Event is an event to be fed. The stream and the type are required.
type Event struct {
	Stream, Type, Key string
	// Version 1 when it is 0.
	SchemaVersion uint32
	TimeUs        uint64
	// Becomes JSON; bytes are taken as they are.
	Data    any
	Details [][2]string
}

// Appended is an event that a handler has appended.
type Appended struct {
	wasmill.NewEvent
	Stream string
	// The position of the event that it answers.
	Cause uint64
	// The data as JSON.
	Data []byte
}

// Host feeds a plugin as a host does: numbered, in batches, all or nothing each.
type Host struct {
	// How many events are in a batch; 256 at first.
	Batch int
	// What is set, beside the defaults of the descriptor.
	Config map[string]string
	// JSON by collection and key.
	Documents map[[2]string][]byte
	Appended  []Appended
	// Lines of the log: level, message and fields.
	Log []string

	t        testing.TB
	plugin   engine.Plugin
	about    wasmill.Descriptor
	offsets  map[string]uint64
	position uint64
	batch    []Event
}

// New is a host that runs a plugin, such as projection.Plugin.
func New(t testing.TB, plugin engine.Plugin) *Host {
	t.Helper()
	host := &Host{
		Batch:     256,
		Config:    map[string]string{},
		Documents: map[[2]string][]byte{},
		t:         t,
		plugin:    plugin,
		offsets:   map[string]uint64{},
	}
	if err := json.Unmarshal([]byte(plugin.Describe()), &host.about); err != nil {
		t.Fatalf("the descriptor is not JSON: %v", err)
	}
	return host
}

// Feed feeds events. It returns what an upcaster makes of each, or the plugin's failure; its batch is rolled back then.
func (h *Host) Feed(events ...Event) ([]engine.Lifted, error) {
	imported := imports{h}
	engine.Current = engine.Host{Common: imported, Documents: imported, Outbox: imported}
	var results []engine.Lifted
	for batch := range slices.Chunk(events, h.Batch) {
		documents, appended := maps.Clone(h.Documents), len(h.Appended)
		h.batch = batch
		numbered := make([]*engine.Event, len(batch))
		for n, event := range batch {
			numbered[n] = h.number(event)
		}
		lifted, failure := h.plugin.Run(numbered)
		if failure != nil {
			h.Documents, h.Appended = documents, h.Appended[:appended]
			return nil, failure
		}
		results = append(results, lifted...)
	}
	return results, nil
}

// Must feeds events that no failure is expected of.
func (h *Host) Must(events ...Event) []engine.Lifted {
	h.t.Helper()
	lifted, err := h.Feed(events...)
	if err != nil {
		h.t.Fatal(err)
	}
	return lifted
}

// Document is a document as JSON; empty when there is none.
func (h *Host) Document(collection, key string) string {
	return string(h.Documents[[2]string{collection, key}])
}

func (h *Host) number(event Event) *engine.Event {
	data, raw := event.Data.([]byte)
	if !raw {
		text, err := engine.Encode(event.Data)
		if err != nil {
			h.t.Fatalf("the data of %s: %v", event.Type, err)
		}
		data = text
	}
	numbered := &engine.Event{
		Position: h.position, Offset: h.offsets[event.Stream], TimeUs: event.TimeUs, ID: [2]uint64{0, h.position + 1},
		SchemaVersion: max(event.SchemaVersion, 1), Type: event.Type, Stream: event.Stream, Key: event.Key, Data: data,
	}
	h.position++
	h.offsets[event.Stream]++
	return numbered
}

// declared refuses a collection that the descriptor does not name, as a host does.
func (h *Host) declared(collection string) string {
	named := func(c wasmill.Collection) bool { return c.Name == collection }
	if !slices.ContainsFunc(h.about.Collections, named) {
		panic(fmt.Sprintf("the collection %s is not in the descriptor", collection))
	}
	return collection
}

// imports is what a component would import.
type imports struct{ *Host }

func (h imports) Details(index uint32) [][2]string { return h.batch[index].Details }

func (h imports) NowUs() uint64 { return 0 }

func (h imports) Random(length uint32) []byte { return make([]byte, length) }

func (h imports) Get(collection, key string) ([]byte, bool) {
	document, ok := h.Documents[[2]string{h.declared(collection), key}]
	return document, ok
}

func (h imports) Put(collection, key string, document []byte) {
	h.Documents[[2]string{h.declared(collection), key}] = document
}

func (h imports) Remove(collection, key string) {
	delete(h.Documents, [2]string{h.declared(collection), key})
}

func (h imports) Scan(collection, prefix string, after *string, limit uint32) (page []engine.Entry, more *string) {
	for at, document := range h.Documents {
		if at[0] == h.declared(collection) && strings.HasPrefix(at[1], prefix) && (after == nil || at[1] > *after) {
			page = append(page, engine.Entry{Key: at[1], Document: document})
		}
	}
	slices.SortFunc(page, func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	if len(page) > int(limit) {
		page = page[:limit]
		more = &page[limit-1].Key
	}
	return page, more
}

func (h imports) Append(cause uint32, stream string, event engine.NewEvent, data []byte) {
	first := h.position - uint64(len(h.batch))
	appended := Appended{NewEvent: event, Stream: stream, Cause: first + uint64(cause), Data: data}
	h.Host.Appended = append(h.Host.Appended, appended)
}

func (h imports) Config(key string) (string, bool) {
	if value, ok := h.Host.Config[key]; ok {
		return value, true
	}
	for _, setting := range h.about.Config {
		if setting.Name == key && setting.Default != nil {
			return *setting.Default, true
		}
	}
	return "", false
}

func (h imports) Log(level engine.Level, message string, fields [][2]string) {
	names := []string{"trace", "debug", "info", "warn", "error"}
	line := names[level] + " " + message
	for _, field := range fields {
		line += fmt.Sprintf(" %s=%s", field[0], field[1])
	}
	h.Host.Log = append(h.Host.Log, line)
}
