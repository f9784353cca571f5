use std::fmt;
use std::marker::PhantomData;

/// A named part of the read model, and the type of its documents. Declare each as a constant, name it
/// in the [`Descriptor`](crate::Descriptor), and pass it to [`State`](crate::State).
pub struct Collection<T> {
    name: &'static str,
    description: &'static str,
    indexes: &'static [&'static str],
    documents: PhantomData<fn() -> T>,
}

impl<T> Collection<T> {
    /// `name` is 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, description: "", indexes: &[], documents: PhantomData }
    }

    /// Says what the collection holds, for those who query it. Up to 1,000 bytes.
    #[must_use]
    pub const fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Names fields of the documents that they can be found and sorted by without a look at all of them;
    /// a field within an object is named with dots, as in `address.country`. At most 16, each of which
    /// costs something whenever a document changes.
    #[must_use]
    pub const fn indexed(mut self, fields: &'static [&'static str]) -> Self {
        self.indexes = fields;
        self
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn description(&self) -> &'static str {
        self.description
    }

    pub(crate) const fn indexes(&self) -> &'static [&'static str] {
        self.indexes
    }
}

impl<T> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collection").field(&self.name).finish()
    }
}
