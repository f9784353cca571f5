//! The one seam between the SDK and whatever hosts it: the component's imports in Wasm, the memory
//! host of [`testing`](crate::testing) elsewhere. Both have the same functions.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
pub(crate) use component::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::host::*;
