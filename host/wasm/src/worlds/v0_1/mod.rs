//! `wasmill:plugin@0.1`. Handlers, upcasters and sagas come beside projections, sharing the bindings
//! of the interfaces that they have in common (`with` of `bindgen!`).

pub(crate) mod projection;
