//! Holds nothing: the tests are in `it/`, the guests that they need in `guests/`.
