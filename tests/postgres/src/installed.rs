//! What is installed: where the binaries are, and as whom they run.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version that Wasmill supports.
const VERSION_MIN: u32 = 15;

/// Where Debian's packages put each version.
const DEBIAN: &str = "/usr/lib/postgresql";

pub(crate) struct Installed {
    bin: PathBuf,
    /// The user and group of the server, which refuses to run as root; `None` where that is not needed.
    pub(crate) user: Option<(u32, u32)>,
}

impl Installed {
    /// Looks into `WASMILL_POSTGRES_BIN` alone if it is set, else takes the newest version of Debian's
    /// packages, else the first in PATH. `tests/run` has the same rule.
    pub(crate) fn find() -> Self {
        let bin = match std::env::var_os("WASMILL_POSTGRES_BIN") {
            Some(bin) => Some(PathBuf::from(bin)).filter(|bin| version(bin) >= Some(VERSION_MIN)),
            None => newest_of_debian().or_else(first_in_path),
        };
        let bin = bin.unwrap_or_else(|| {
            panic!(
                "PostgreSQL {VERSION_MIN} or newer is missing: initdb, postgres and psql are looked for in \
                 WASMILL_POSTGRES_BIN if that is set (now: {:?}), else in {DEBIAN}/*/bin and in PATH. \
                 Install it: `apt-get install postgresql` on Debian, `brew install postgresql` on macOS.",
                std::env::var_os("WASMILL_POSTGRES_BIN")
            )
        });
        Self { bin, user: other_user_than_root() }
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }

    /// Runs a server on a directory, as its user; the flags of `postgres` can follow.
    pub(crate) fn watchdog(&self, directory: &Path) -> Command {
        let mut watchdog = command("sh");
        watchdog.args(["-c", include_str!("watchdog.sh"), "watchdog"]).arg(directory).current_dir(directory);
        watchdog.args([self.path("initdb"), self.path("postgres")]);
        if let Some((user, group)) = self.user {
            watchdog.uid(user).gid(group);
        }
        // A process group of its own, so that a Ctrl-C ends only the test process.
        watchdog.process_group(0);
        watchdog
    }
}

/// A command that the PG* variables of whoever runs the tests do not change, and that speaks English.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C");
    command
}

fn newest_of_debian() -> Option<PathBuf> {
    let folders = std::fs::read_dir(DEBIAN).ok()?.flatten().map(|entry| entry.path().join("bin"));
    let versions = folders.filter_map(|bin| Some((version(&bin)?, bin)));
    versions.filter(|(version, _)| *version >= VERSION_MIN).max().map(|(_, bin)| bin)
}

fn first_in_path() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find(|bin| version(bin) >= Some(VERSION_MIN))
}

/// The major version of the binaries in a folder, if it has all of them.
fn version(bin: &Path) -> Option<u32> {
    if !(bin.join("initdb").exists() && bin.join("psql").exists()) {
        return None;
    }
    // `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or `18beta1` in that place.
    let output = command(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// User and group of `postgres`, or else of `nobody`, when this process is root.
fn other_user_than_root() -> Option<(u32, u32)> {
    if id(&["-u"]).expect("`id -u` tells who runs this") != 0 {
        return None;
    }
    let ids = |user| Some((id(&["-u", user])?, id(&["-g", user])?));
    let user = ids("postgres").or_else(|| ids("nobody"));
    Some(user.expect("PostgreSQL does not run as root: the user `postgres` or `nobody` is needed"))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = command("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
