// Package wit_types has the types of the component model that Go has no word for, under the names that the generated
// bindings use.
package wit_types

const (
	OptionNone uint8 = iota
	OptionSome
)

// Option is a value that may not be there.
type Option[T any] struct {
	value T
	tag   uint8
}

func None[T any]() Option[T]        { return Option[T]{} }
func Some[T any](value T) Option[T] { return Option[T]{value, OptionSome} }

func (o Option[T]) Tag() uint8 { return o.tag }

// Some is the value; it is the zero value where there is none.
func (o Option[T]) Some() T { return o.value }

const (
	ResultOk uint8 = iota
	ResultErr
)

// Result is one of two values.
type Result[T, E any] struct {
	ok  T
	err E
	tag uint8
}

func Ok[T, E any](value T) Result[T, E]  { return Result[T, E]{ok: value} }
func Err[T, E any](value E) Result[T, E] { return Result[T, E]{err: value, tag: ResultErr} }

func (r Result[T, E]) Tag() uint8 { return r.tag }
func (r Result[T, E]) Ok() T      { return r.ok }
func (r Result[T, E]) Err() E     { return r.err }

// Unit is the value of a result that has none.
type Unit struct{}

type Tuple2[A, B any] struct {
	F0 A
	F1 B
}
