//! A directory for the time of one command.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::exit::Failure;

/// A fresh directory that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(purpose: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("wasmill-{purpose}-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).map_err(|error| Failure::file(&path.display().to_string(), &error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up, as all of its temporary directory is.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
