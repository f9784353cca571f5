//! Compiled components, kept over a restart: `<sha256 of the component>-<engine>.cwasm`.
//!
//! A file is machine code that this process will run, so only files that this host wrote may be
//! loaded. The directory is the host's alone (mode 0700), files appear in it by a rename, and each
//! ends in a hash of what stands before it. What the hash is for is not an attacker, who would have
//! to be the host itself, but a file that was cut off, half restored or damaged: it is compiled again.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const EXTENSION: &str = "cwasm";
const SEAL_BYTES: usize = 32;

#[derive(Debug)]
pub(crate) struct CompiledCache {
    dir: PathBuf,
    /// Changes with the version of wasmtime and every setting that changes code.
    engine: String,
    bytes_max: u64,
}

impl CompiledCache {
    /// Takes over `dir`. What another version of the engine left there is of no use any more.
    pub(crate) fn open(dir: &Path, engine: &Engine, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        make_private(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = Self { dir: dir.to_owned(), engine: format!("{:016x}", hasher.finish()), bytes_max };
        let suffix = format!("-{}.{EXTENSION}", cache.engine);
        for file in cache.files()?.filter(|file| !file.name.ends_with(&suffix)) {
            fs::remove_file(cache.dir.join(file.name))?;
        }
        Ok(cache)
    }

    pub(crate) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = is_hash.then(|| self.path(sha256))?;
        if !path.exists() {
            return None;
        }
        match load(engine, &path) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %path.display(), error, "a compiled plugin cannot be used; it is compiled again");
                None
            }
        }
    }

    /// Keeps `component`, and answers it as it will be after a restart: mapped from the file, so that
    /// its code costs no memory that the system could not take back. Without a file it goes on as it is.
    pub(crate) fn keep(&self, engine: &Engine, sha256: &str, component: Component) -> Component {
        match self.write(sha256, &component) {
            Ok(()) => self.load(engine, sha256).unwrap_or(component),
            Err(error) => {
                tracing::warn!(error, "a compiled plugin could not be kept; it is compiled again at the next start");
                component
            }
        }
    }

    fn write(&self, sha256: &str, component: &Component) -> Result<(), String> {
        let code = component.serialize().map_err(|error| format!("{error:#}"))?;
        let written = self.make_room(code.len() as u64).and_then(|()| {
            let path = self.path(sha256);
            let unfinished = path.with_extension("tmp");
            let mut file = File::create(&unfinished)?;
            file.write_all(&code)?;
            file.write_all(&seal(&code))?;
            file.sync_all()?;
            fs::rename(unfinished, path)
        });
        written.map_err(|error| error.to_string())
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files: Vec<_> = self.files()?.collect();
        files.sort_by_key(|file| file.written);
        let mut total = bytes + files.iter().map(|file| file.bytes).sum::<u64>();
        for file in files {
            if total <= self.bytes_max {
                break;
            }
            fs::remove_file(self.dir.join(file.name))?;
            total -= file.bytes;
        }
        Ok(())
    }

    /// Our files; whatever else lies there is left alone.
    fn files(&self) -> io::Result<impl Iterator<Item = CachedFile>> {
        let file = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let metadata = entry.metadata().ok()?;
            let ours = name.ends_with(".cwasm") || name.ends_with(".tmp");
            (ours && metadata.is_file()).then(|| CachedFile {
                name,
                bytes: metadata.len(),
                written: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        };
        Ok(fs::read_dir(&self.dir)?.filter_map(file))
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}-{}.{EXTENSION}", self.engine))
    }
}

struct CachedFile {
    name: String,
    bytes: u64,
    written: SystemTime,
}

fn load(engine: &Engine, path: &Path) -> Result<Component, String> {
    if !is_whole(path).map_err(|error| error.to_string())? {
        return Err("it is damaged".into());
    }
    // SAFETY: the file has to be what `Component::serialize` gave, and to stay that way while it is
    // mapped. Only this host writes to the directory (0700, under its locked data directory), it
    // writes nothing but that, the seal says that the file is whole, and a file is never written to
    // again: it is replaced by a rename or unlinked, and either leaves the mapped one as it is. That
    // the code is for this version, these settings and this processor is checked by wasmtime. The
    // seal behind the code is ignored by it, like any bytes that the headers of an ELF file do not
    // speak of.
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map_err(|error| format!("{error:#}"))
}

fn seal(code: &[u8]) -> [u8; SEAL_BYTES] {
    Sha256::digest(code).into()
}

/// Whether what stands before the seal is what was sealed.
fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(code_bytes) = file.metadata()?.len().checked_sub(SEAL_BYTES as u64) else { return Ok(false) };
    let mut code = (&mut file).take(code_bytes);
    let mut hasher = Sha256::new();
    // A page cache's worth at a time: the file itself is mapped, not read.
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match code.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let mut seal = [0; SEAL_BYTES];
    file.read_exact(&mut seal)?;
    Ok(seal == *hasher.finalize())
}

#[cfg(unix)]
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_private(_dir: &Path) -> io::Result<()> {
    Ok(())
}
