// Package wasmill has what plugins of every kind use. The packages projection, handler and upcaster say what a plugin
// of their kind is; a plugin registers one in init and has an empty main:
//
//	func init() {
//		projection.Register(projection.Plugin{
//			Descriptor: wasmill.Descriptor{
//				Name:        "orders",
//				Version:     "1.0.0",
//				Collections: []wasmill.Collection{{Name: "types"}},
//			},
//			Apply: func(event *wasmill.Event, state wasmill.State) error {
//				var count int
//				if _, err := state.Get("types", event.Type, &count); err != nil {
//					return err
//				}
//				return state.Put("types", event.Type, count+1)
//			},
//		})
//	}
//
//	func main() {}
//
// A component of Go has no clock, no files and no random numbers of its own: time stands still, and the time to use is
// the event's. Keep nothing from one event to the next but what is in documents: the host may roll a batch back.
package wasmill

import (
	"fmt"
	"time"

	"wasmill/internal/engine"
)

// Event is an event of the present batch.
type Event = engine.Event

// State is the documents of a plugin.
type State = engine.State

// NewEvent is an event that a handler appends.
type NewEvent = engine.NewEvent

// Failure is why an event failed. Any other error, and a panic, rejects the event as plugin.exception.
type Failure = engine.Failure

// Reject says that this event can never work. The code is stable and machine-readable.
func Reject(code, format string, values ...any) error {
	return failure(engine.Reject, code, format, values)
}

// Retry says that the same event may work later.
func Retry(code string, after time.Duration, format string, values ...any) error {
	failure := failure(engine.Retry, code, format, values)
	failure.RetryAfter = after
	return failure
}

// Halt says that the plugin itself cannot go on.
func Halt(code, format string, values ...any) error {
	return failure(engine.Halt, code, format, values)
}

func failure(disposition engine.Disposition, code, format string, values []any) *Failure {
	return &Failure{Disposition: disposition, Code: code, Message: fmt.Sprintf(format, values...), Index: -1}
}

// Config is a value of the plugin's configuration, which is fixed for the life of a revision.
func Config(key string) (string, bool) { return engine.Current.Config(key) }

// Fields go with a message of the log.
type Fields map[string]string

func Trace(message string, fields Fields) { log(engine.Trace, message, fields) }
func Debug(message string, fields Fields) { log(engine.Debug, message, fields) }
func Info(message string, fields Fields)  { log(engine.Info, message, fields) }
func Warn(message string, fields Fields)  { log(engine.Warn, message, fields) }
func Error(message string, fields Fields) { log(engine.Error, message, fields) }

func log(level engine.Level, message string, fields Fields) {
	engine.Current.Log(level, message, engine.Pairs(fields))
}
