//! The worlds of the contract. Each released version keeps a module of its own, and in it one for
//! each kind with bindings of its own, so that plugins built for it load for ever; 0.2 will stand
//! beside 0.1, not replace it.

pub(crate) mod v0_1;
