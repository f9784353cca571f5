//! Values that only the host knows. They are read when they are used, so that a new one needs no restart, and stand
//! in no log, no listing and no configuration.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wasmill_core::saga::http::Secrets;

/// `pay-key` is `WASMILL_SECRET_PAY_KEY`.
const PREFIX: &str = "WASMILL_SECRET_";
/// It has to fit in a header.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[error("the folder of secrets {} cannot be read", .dir.display())]
pub struct SecretsError {
    dir: PathBuf,
    source: io::Error,
}

/// One file each in a folder, else in the environment.
pub(crate) struct StoredSecrets {
    dir: Option<PathBuf>,
}

impl StoredSecrets {
    pub(crate) fn open(dir: Option<PathBuf>) -> Result<Self, SecretsError> {
        if let Some(dir) = &dir {
            std::fs::read_dir(dir).map_err(|source| SecretsError { dir: dir.clone(), source })?;
        }
        Ok(Self { dir })
    }
}

impl Secrets for StoredSecrets {
    fn secret(&self, name: &str) -> Option<String> {
        // A granted name has none of these; it becomes part of a path.
        if name.contains(['/', '\\', '.']) {
            return None;
        }
        let in_folder = self.dir.as_ref().and_then(|dir| read(&dir.join(name)).ok());
        in_folder.or_else(|| std::env::var(variable(name)).ok()).map(|value| value.trim_end().to_owned())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut value = String::new();
    let bytes = std::fs::File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut value)?;
    if bytes as u64 > SECRET_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(value)
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pay-key"), "s3cret\n").unwrap();
        let secrets = StoredSecrets::open(Some(dir.path().into())).unwrap();
        assert_eq!(secrets.secret("pay-key").as_deref(), Some("s3cret"));
        std::fs::write(dir.path().join("pay-key"), "n3wer").unwrap();
        assert_eq!(secrets.secret("pay-key").as_deref(), Some("n3wer"));
        assert_eq!(secrets.secret("no-such-secret"), None);
        assert_eq!(secrets.secret("../pay-key"), None);
        assert_eq!(variable("pay-key"), "WASMILL_SECRET_PAY_KEY");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let error = StoredSecrets::open(Some(dir.path().join("elsewhere"))).err().unwrap();
        assert!(error.to_string().contains("elsewhere"));
    }
}
