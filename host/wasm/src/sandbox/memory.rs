//! One number for all that an instance allocates: its memories, and its tables at a pointer a slot.

use wasmill_core::guest::GuestError;
use wasmtime::ResourceLimiter;

const TABLE_SLOT_BYTES: usize = size_of::<usize>();

#[derive(Debug)]
pub(crate) struct MemoryLimit {
    used: usize,
    limit: usize,
    /// Set when the guest asked for too much.
    pub(super) refused: Option<GuestError>,
}

impl MemoryLimit {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: 0, limit, refused: None }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// An error rather than a refusal that the guest would see: what it does then (abort, with
    /// whatever message) tells an operator less, and no language's runtime survives it anyway.
    fn grow(&mut self, by: usize) -> wasmtime::Result<bool> {
        let asked = self.used.saturating_add(by);
        if asked > self.limit {
            let refused = GuestError::OutOfMemory { asked_bytes: asked as u64, limit_bytes: self.limit as u64 };
            let error = wasmtime::Error::msg(refused.to_string());
            self.refused = Some(refused);
            return Err(error);
        }
        self.used = asked;
        Ok(true)
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let by = desired.saturating_sub(current);
        if maximum.is_some_and(|maximum| desired > maximum) && self.used.saturating_add(by) <= self.limit {
            // Beyond what the memory itself declares: the instruction fails by its own rules.
            return Ok(false);
        }
        self.grow(by)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let by = desired.saturating_sub(current).saturating_mul(TABLE_SLOT_BYTES);
        if maximum.is_some_and(|maximum| desired > maximum) && self.used.saturating_add(by) <= self.limit {
            return Ok(false);
        }
        self.grow(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let mut memory = MemoryLimit::new(1000);
        assert!(memory.memory_growing(0, 400, None).unwrap());
        assert!(memory.memory_growing(0, 400, None).unwrap());
        assert!(memory.table_growing(0, 20, None).unwrap());
        assert_eq!(memory.used(), 960);
        assert!(memory.memory_growing(400, 500, None).is_err());
        let Some(GuestError::OutOfMemory { asked_bytes, limit_bytes }) = memory.refused else { panic!() };
        assert_eq!((asked_bytes, limit_bytes), (1060, 1000));
    }

    #[test]
    fn a_memory_may_declare_less_for_itself() {
        let mut memory = MemoryLimit::new(1000);
        assert!(!memory.memory_growing(0, 600, Some(500)).unwrap());
        assert!(memory.refused.is_none());
        assert_eq!(memory.used(), 0);
    }
}
