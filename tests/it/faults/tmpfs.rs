//! A small disk: a file system in memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

/// Mounted on a temporary folder until it is dropped.
pub struct Tmpfs {
    pub dir: Arc<TempDir>,
}

impl Tmpfs {
    /// `None` says that this process may not mount.
    pub fn mount(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={mib}m,mode=700");
        mount(&["-t", "tmpfs", "-o", &size, "wasmill-test"], dir.path()).then(|| Self { dir: Arc::new(dir) })
    }

    pub fn resize(&self, mib: u64) {
        let options = format!("remount,size={mib}m");
        assert!(mount(&["-o", &options], self.dir.path()), "what is mounted can be resized");
    }
}

impl Drop for Tmpfs {
    /// At once, whatever still has files open in it.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).stderr(Stdio::null()).status();
    }
}

fn mount(arguments: &[&str], on: &Path) -> bool {
    let mounted = Command::new("mount").args(arguments).arg(on).stderr(Stdio::null()).status();
    mounted.is_ok_and(|status| status.success())
}
