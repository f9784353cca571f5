//! Rules of the house that are run, not remembered: the arrows between rooms, forbidden names, the
//! size of files, and links that lead somewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::root;

/// What each room may depend on in this workspace, and what it alone may use.
const ARROWS: [(&str, &[&str]); 19] = [
    ("wasmill-core", &[]),
    ("wasmill-store", &["wasmill-core", "wasmill-test-postgres"]),
    ("wasmill-wasm", &["wasmill-core", "wasmill-tests"]),
    ("wasmill-server", &["wasmill-core", "wasmill-store", "wasmill-wasm"]),
    ("wasmill-guest", &[]),
    ("flights", &["wasmill-guest"]),
    ("cdevents", &["wasmill-guest"]),
    ("user-statistics", &["wasmill-guest"]),
    ("welcome", &["wasmill-guest"]),
    ("user-v1-to-v3", &["wasmill-guest"]),
    ("order-fulfillment", &["wasmill-guest"]),
    ("overdue-flights", &["wasmill-guest"]),
    ("test-guest", &["wasmill-guest"]),
    ("test-handler", &["wasmill-guest"]),
    ("test-saga", &["wasmill-guest"]),
    ("test-upcaster", &["wasmill-guest"]),
    ("wasmill-test-partner", &[]),
    ("wasmill-test-postgres", &[]),
    ("wasmill-tests", &["wasmill-core", "wasmill-server", "wasmill-test-partner", "wasmill-test-postgres"]),
];

/// Heavy dependencies and the one room that may name them.
const KEPT_TO: [(&str, &[&str]); 9] = [
    ("sqlx", &["wasmill-store"]),
    ("wasmtime", &["wasmill-wasm"]),
    ("wasmtime-wasi", &["wasmill-wasm"]),
    ("tonic", &["wasmill-server", "wasmill-tests"]),
    ("axum", &["wasmill-server"]),
    ("hyper", &["wasmill-server", "wasmill-test-partner"]),
    ("clap", &["wasmill-server"]),
    ("wit-bindgen", &["wasmill-guest", "test-guest"]),
    ("anyhow", &["wasmill-server", "wasmill-tests"]),
];

/// Dependencies of each package of the workspace, development ones too.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let metadata =
        Command::new(cargo).args(["metadata", "--format-version=1", "--no-deps"]).current_dir(root()).output();
    let metadata: Value = serde_json::from_slice(&metadata.expect("cargo runs").stdout).expect("metadata is JSON");
    let name = |package: &Value| package["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages.map(|p| (name(p), p["dependencies"].as_array().expect("a list").iter().map(name).collect())).collect()
}

#[test]
fn arrows_between_rooms_point_one_way() {
    let dependencies = dependencies();
    for (package, uses) in &dependencies {
        let allowed = ARROWS.iter().find(|(name, _)| name == package);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{package} is a new room: say here what it may use"));
        for used in uses.iter().filter(|used| dependencies.contains_key(*used)) {
            assert!(allowed.contains(&used.as_str()), "{package} may not use {used}");
        }
        for (heavy, rooms) in KEPT_TO {
            let named = uses.iter().any(|used| used == heavy);
            assert!(!named || rooms.contains(&package.as_str()), "{package} may not use {heavy}");
        }
    }
}

/// Files that git knows or would take, with one of these endings.
fn sources(endings: &[&str]) -> Vec<PathBuf> {
    let files = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root()).output();
    let files = String::from_utf8(files.expect("git runs").stdout).expect("paths are UTF-8");
    let wanted = files.lines().filter(|file| endings.iter().any(|ending| file.ends_with(ending)));
    wanted.map(|file| root().join(file)).filter(|file| file.exists()).collect()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_file_fits_in_a_head() {
    let long: Vec<String> = sources(&[".rs", ".js", ".sql"])
        .iter()
        .map(|file| (file, read(file).lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(file, lines)| format!("{} has {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Names that a room's sources must not contain, each with what to use instead.
#[test]
fn forbidden_names_are_absent() {
    let rules: [(&str, &str, &str); 6] = [
        ("host/core/src", "sqlx", "the traits of store/mod.rs"),
        ("host/core/src", "wasmtime", "the traits of guest.rs"),
        ("host/core/src", "axum", "a face converts in host/server"),
        ("host/server/src", "sqlx", "a query belongs in host/store"),
        ("host/", "broadcast::", "a position that wakes readers (log/tail.rs)"),
        ("host/", "todo!(", "finish it"),
    ];
    for file in sources(&[".rs"]) {
        let path = file.strip_prefix(root()).expect("inside the checkout").display().to_string();
        let text = read(&file);
        for (room, name, instead) in rules.iter().filter(|(room, ..)| path.starts_with(room)) {
            let line = text.lines().position(|line| !line.trim_start().starts_with("//") && line.contains(name));
            assert!(line.is_none(), "{path}:{}: `{name}` is not for {room}: {instead}", line.unwrap_or(0) + 1);
        }
    }
}

#[test]
fn links_in_the_guides_lead_somewhere() {
    for file in sources(&[".md"]) {
        let text = read(&file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = file.parent().expect("a folder").join(target);
            assert!(path.exists(), "{}: the link to {target} leads nowhere", file.display());
        }
    }
}

/// A guest that no test claims is dead weight in every build.
#[test]
fn every_guest_is_claimed_by_a_test() {
    let tests: String =
        sources(&[".rs"]).iter().filter(|file| file.starts_with(root().join("tests/it"))).map(|f| read(f)).collect();
    for plugin in std::fs::read_dir(root().join("plugins")).expect("plugins/ is there") {
        let name = plugin.expect("an entry").file_name().to_string_lossy().into_owned();
        // `languages.rs` goes through the examples by the names of their languages.
        let claimed = name == "README.md" || name.starts_with("examples-");
        assert!(claimed || tests.contains(&name), "plugins/{name} is used by no test");
    }
}

#[test]
fn the_protocol_keeps_bufs_standard() {
    let buf = root().join(".cache/tools/node_modules/.bin/buf");
    if !buf.exists() {
        return skip("buf is not installed (tests/tools)");
    }
    let output =
        Command::new(buf).arg("lint").current_dir(root().join("host/server/proto")).output().expect("buf runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Says aloud that a check did not run; in CI that is a failure.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI runs every check: {reason}");
    eprintln!("SKIPPED: {reason}");
}
