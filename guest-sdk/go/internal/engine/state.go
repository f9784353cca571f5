package engine

import (
	"encoding/json"
	"iter"
)

const page = 128

// State is the documents of a plugin. The host buffers what is changed and rolls it back when the batch fails.
type State struct{}

// Get reads a document into a value. It tells whether there is one, and leaves the value alone when there is not.
func (State) Get(collection, key string, into any) (bool, error) {
	document, ok := Current.Get(collection, key)
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(document, into)
}

// Put sets a document.
func (State) Put(collection, key string, document any) error {
	text, err := Encode(document)
	if err == nil {
		Current.Put(collection, key, text)
	}
	return err
}

// Remove removes a document, if there is one.
func (State) Remove(collection, key string) { Current.Remove(collection, key) }

// Scan yields the keys and documents of all whose keys begin with prefix, in the byte order of their keys. It sees what
// the batch has changed so far.
func (State) Scan(collection, prefix string) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		var after *string
		for {
			entries, more := Current.Scan(collection, prefix, after, page)
			for _, entry := range entries {
				if !yield(entry.Key, entry.Document) {
					return
				}
			}
			if more == nil {
				return
			}
			after = more
		}
	}
}
