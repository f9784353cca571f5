package engine

import (
	"wasmill/internal/contract/imports/wasmill_plugin_config"
	"wasmill/internal/contract/imports/wasmill_plugin_emitted"
	"wasmill/internal/contract/imports/wasmill_plugin_env"
	"wasmill/internal/contract/imports/wasmill_plugin_event_details"
	"wasmill/internal/contract/imports/wasmill_plugin_log"
	"wasmill/internal/contract/imports/wasmill_plugin_outbox"
	"wasmill/internal/contract/imports/wasmill_plugin_state"
	witTypes "wasmill/internal/wit/types"
)

// Each world has some of these interfaces. The linker leaves out what a plugin cannot reach, so a kind that takes only
// its own parts imports nothing that its world lacks.

type common struct{}

// CommonHost is the host of every kind.
func CommonHost() Host { return Host{Common: common{}} }

func (common) Config(key string) (string, bool) {
	value := wasmill_plugin_config.Get(key)
	return value.Some(), value.Tag() == witTypes.OptionSome
}

func (common) Details(index uint32) [][2]string {
	var pairs [][2]string
	for _, pair := range wasmill_plugin_event_details.AttributesOf(index) {
		pairs = append(pairs, [2]string{pair.F0, pair.F1})
	}
	return pairs
}

func (common) Log(level Level, message string, fields [][2]string) {
	wasmill_plugin_log.Write(uint8(level), message, attributes(fields))
}

type documents struct{}

// HostWithDocuments is the host of projections.
func HostWithDocuments() Host { return Host{Common: common{}, Documents: documents{}} }

func (documents) Get(collection, key string) ([]byte, bool) {
	document := wasmill_plugin_state.Get(collection, key)
	return document.Some(), document.Tag() == witTypes.OptionSome
}

func (documents) Put(collection, key string, document []byte) {
	wasmill_plugin_state.Put(collection, key, document)
}

func (documents) Remove(collection, key string) { wasmill_plugin_state.Remove(collection, key) }

func (documents) Scan(collection, prefix string, after *string, limit uint32) ([]Entry, *string) {
	found := wasmill_plugin_state.Scan(collection, prefix, option(after), limit)
	entries := make([]Entry, len(found.Entries))
	for n, entry := range found.Entries {
		entries[n] = Entry{entry.Key, entry.Value}
	}
	if found.NextAfter.Tag() == witTypes.OptionNone {
		return entries, nil
	}
	more := found.NextAfter.Some()
	return entries, &more
}

type outbox struct{}

// HostWithOutbox is the host of handlers.
func HostWithOutbox() Host { return Host{Common: common{}, Documents: documents{}, Outbox: outbox{}} }

func (outbox) Append(cause uint32, stream string, event NewEvent, data []byte) {
	var key *string
	if event.Key != "" {
		key = &event.Key
	}
	wasmill_plugin_outbox.Append(cause, stream, []wasmill_plugin_emitted.NewEvent{{
		EventType:     event.Type,
		SchemaVersion: max(event.SchemaVersion, 1),
		Key:           option(key),
		Data:          data,
		Attributes:    attributes(Pairs(event.Attributes)),
	}})
}

func (outbox) NowUs() uint64 { return wasmill_plugin_env.NowUs() }

func (outbox) Random(length uint32) []byte { return wasmill_plugin_env.Random(length) }

func attributes(pairs [][2]string) []witTypes.Tuple2[string, string] {
	attributes := make([]witTypes.Tuple2[string, string], len(pairs))
	for n, pair := range pairs {
		attributes[n] = witTypes.Tuple2[string, string]{F0: pair[0], F1: pair[1]}
	}
	return attributes
}

func option(text *string) witTypes.Option[string] {
	if text == nil {
		return witTypes.None[string]()
	}
	return witTypes.Some(*text)
}
