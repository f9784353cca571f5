package engine

import (
	"errors"
	"fmt"
	"time"
)

type Disposition uint8

const (
	Retry Disposition = iota
	Reject
	Halt
)

// Failure is why an event failed, and what the host should do about it. Everything that the batch changed is rolled
// back.
type Failure struct {
	Disposition Disposition
	// Stable and machine-readable, such as "payment.declined".
	Code       string
	Message    string
	RetryAfter time.Duration
	Attributes map[string]string
	// Which event of the batch it was; less than 0 while that is not known.
	Index int
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// failureOf is the failure for whatever went wrong with the event at index.
func failureOf(err error, index int) *Failure {
	failure := new(Failure)
	if !errors.As(err, &failure) {
		failure = &Failure{Disposition: Reject, Code: "plugin.exception", Message: err.Error()}
	}
	failure.Index = index
	return failure
}

// guarded calls a plugin's function and makes an error of its panic.
func guarded(call func() error) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	return call()
}
