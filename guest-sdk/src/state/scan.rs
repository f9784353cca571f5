use std::collections::VecDeque;
use std::marker::PhantomData;

use super::Document;
use crate::{Failure, host};

/// How many documents a [`Scan`] asks for at a time: enough that the call costs little beside them,
/// few enough that even large ones stay far below a plugin's memory.
const PAGE: u32 = 128;

/// Documents of a collection in the byte order of their keys, and where the next page begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub documents: Vec<(String, T)>,
    /// What to pass as `after` for the next page; `None` when this is the last.
    pub next_after: Option<String>,
}

/// The documents of a [`State::scan`](super::State::scan), as an iterator.
pub struct Scan<'a, T> {
    collection: &'static str,
    prefix: String,
    page: VecDeque<(String, T)>,
    /// `Some(after)` while there may be more.
    next: Option<Option<String>>,
    /// Writing during a scan would leave it open what the scan sees.
    state: PhantomData<&'a mut super::State>,
}

impl<T: Document> Scan<'_, T> {
    pub(super) fn new(collection: &'static str, prefix: &str) -> Self {
        Self { collection, prefix: prefix.to_owned(), page: VecDeque::new(), next: Some(None), state: PhantomData }
    }
}

impl<T: Document> Iterator for Scan<'_, T> {
    type Item = Result<(String, T), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(document) = self.page.pop_front() {
                return Some(Ok(document));
            }
            let after = self.next.take()?;
            match page(self.collection, &self.prefix, after.as_deref(), PAGE) {
                Ok(page) => {
                    self.page = page.documents.into();
                    self.next = page.next_after.map(Some);
                }
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

pub(super) fn page<T: Document>(
    collection: &str,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<T>, Failure> {
    let (entries, next_after) = host::scan(collection, prefix, after, limit);
    let documents = entries
        .into_iter()
        .map(|(key, bytes)| {
            let document = super::cache::from_bytes(&bytes, collection, &key)?;
            Ok((key, document))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Page { documents, next_after })
}
