//! Builds plugins of this workspace to WebAssembly components, for whoever embeds them: the demo of
//! the host, and the tests (which include this file by its path).

use std::env;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What plugins compile to.
const TARGET: &str = "wasm32-wasip2";
/// The profile of the workspace that is made for them.
const PROFILE: &str = "guest";

/// Settings of the build under way that are meant for the host and not for plugins: flags, wrappers
/// (clippy works by one) and another target's directory.
const HOST_ONLY: &[&str] = &[
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// Builds `package` with `features` and copies the component to `to`. Cargo is told to come back when
/// one of `sources`, paths from the workspace's root, has changed.
pub(crate) fn build(package: &str, features: &[&str], sources: &[&str], to: &Path) -> Result<(), Box<dyn Error>> {
    let root = workspace_root()?;
    for source in sources.iter().chain(&["Cargo.toml", "Cargo.lock"]) {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let target_dir = guests_dir()?;
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("CARGO is not set: a build script runs under cargo")?);
    cargo.current_dir(&root).args(["build", "--locked", "--target", TARGET, "--profile", PROFILE]);
    cargo.args(["--package", package, "--lib"]).arg("--target-dir").arg(&target_dir);
    if !features.is_empty() {
        cargo.args(["--features", &features.join(",")]);
    }
    for name in HOST_ONLY {
        cargo.env_remove(name);
    }
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(explain(package, &String::from_utf8_lossy(&output.stderr)).into());
    }
    let component = target_dir.join(TARGET).join(PROFILE).join(format!("{}.wasm", package.replace('-', "_")));
    copy_if_different(&component, to)?;
    Ok(())
}

fn explain(package: &str, stderr: &str) -> String {
    // Cargo words it "can't find crate for `core`" or "the `wasm32-wasip2` target may not be installed".
    if stderr.contains("target may not be installed") || stderr.contains("can't find crate for `core`") {
        return format!(
            "the plugin `{package}` is built for {TARGET}, which this toolchain lacks. \
             Install it with: rustup target add {TARGET}"
        );
    }
    format!("the plugin `{package}` does not build:\n{stderr}")
}

fn workspace_root() -> Result<PathBuf, Box<dyn Error>> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let is_root = |dir: &&Path| dir.join("Cargo.lock").is_file() && dir.join("guest-sdk").is_dir();
    Ok(package.ancestors().find(is_root).ok_or("the workspace's root was not found")?.to_owned())
}

/// Beside the host's own artefacts, whose directory is locked while this runs. One for all, so that
/// whatever plugins share is compiled once.
fn guests_dir() -> Result<PathBuf, Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // <target>/[<triple>/]<profile>/build/<package>/out
    let mut target = out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?;
    if target.file_name() == env::var_os("TARGET").as_deref() {
        target = target.parent().unwrap_or(target);
    }
    Ok(target.join("guests"))
}

/// An unchanged file keeps its time, so that nothing behind it is built again.
fn copy_if_different(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = std::fs::read(from)?;
    if std::fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    std::fs::write(to, bytes)
}
