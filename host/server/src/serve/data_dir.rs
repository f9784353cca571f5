//! The data directory: one host at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "wasmill.lock";

/// Held for as long as the host runs; the lock is the kernel's, so a killed host leaves none behind.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {} cannot be used", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the data directory {} is in use by another host{}", .path.display(), .holder)]
    InUse { path: PathBuf, holder: String },
}

impl DataDir {
    /// Makes the directory if it is not there, readable by its owner alone, and takes it.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.into(), source };
        create_private(path).map_err(unusable)?;
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join(LOCK_FILE));
        let mut lock = open.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse { path: path.into(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        sign(&mut lock).map_err(unusable)?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// Where everything is in it.
    pub fn places(&self) -> Places {
        Places { cache: self.path.join("cache") }
    }
}

#[derive(Clone, Debug)]
pub struct Places {
    /// Compiled plugins.
    pub cache: PathBuf,
}

fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Leaves the number of this process for the message that a second host shows.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", std::process::id())
}

fn holder(lock: &mut File) -> String {
    let mut pid = String::new();
    match lock.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => format!(" (process {pid})"),
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_is_refused_and_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let first = DataDir::take(&path).unwrap();
        let refused = DataDir::take(&path).unwrap_err().to_string();
        assert!(refused.contains("deep/data") && refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        assert!(DataDir::take(&path).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_look_inside() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let _taken = DataDir::take(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert!(DataDir::take(&path).unwrap_err().to_string().contains("file"));
    }
}
