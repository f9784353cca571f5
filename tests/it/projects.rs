//! What `wasmill plugin new` writes builds as it is, in every language and of every kind; those that count events are
//! deployed. `tests/it/cli.rs` has the same for Rust and for the projection in JavaScript.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::{deploys_and_counts, new_project};
use crate::support::{TestHost, root};
use crate::tidy::skip;

const KINDS: [&str; 3] = ["projection", "handler", "upcaster"];

/// The folder of the tools that `tests/languages` has installed.
fn tools() -> PathBuf {
    root().join(".cache/languages/python/bin")
}

/// Runs a line of shell in a project, with these tools in its path.
fn shell(line: &str, project: &Path) {
    let path = format!("{}:{}", tools().display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-c", line]).current_dir(project).env("PATH", path).stdin(Stdio::null());
    // Go takes nothing from elsewhere: all that it needs is in the project.
    let ran = bash.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").output().expect("bash runs");
    let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ran.status.success(), "{}: {line}: {said}", project.display());
}

/// In these sagas can be written by now.
const SAGAS: [&str; 1] = ["js"];

/// Makes a project of each kind, prepares and builds it, runs its tests, and deploys the projection.
async fn builds(lang: &str, prepare: &str, test: &str) {
    let host = TestHost::start().await;
    for kind in KINDS.into_iter().chain(SAGAS.contains(&lang).then_some("saga")) {
        let name = format!("new-{lang}-{kind}");
        let (path, written) = new_project(&host, &name, &format!("{lang} --kind {kind}")).await;
        shell(prepare, &path);
        shell(written["build"].as_str().expect("a command"), &path);
        shell(test, &path);
        if kind == KINDS[0] {
            deploys_and_counts(&host, &name, &path.join(written["component"].as_str().expect("a path"))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_plugins_in_javascript_build() {
    let modules = root().join("plugins/examples-js/node_modules");
    if !modules.exists() {
        return skip("the modules of plugins/examples-js are not installed (tests/languages)");
    }
    // What `npm install` fetches: the template asks for the same versions.
    let prepare = format!("cp -r {} node_modules", modules.display());
    builds("js", &prepare, "npm test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_plugins_in_python_build() {
    if !tools().join("componentize-py").exists() {
        return skip("componentize-py is not installed (tests/languages)");
    }
    // In place of the environment that build.sh makes: the same versions.
    let prepare = format!("ln -s {} .venv", root().join(".cache/languages/python").display());
    builds("python", &prepare, "python3 -m unittest discover -s tests -t .").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_plugins_in_c_build() {
    if !root().join("plugins/examples-c/dist/welcome.wasm").exists() {
        return skip("no C compiler has built plugins/examples-c (tests/languages)");
    }
    builds("c", "true", "true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_plugins_in_go_build() {
    if !root().join("plugins/examples-go/dist/welcome.wasm").exists() {
        return skip("no Go has built plugins/examples-go (tests/languages)");
    }
    builds("go", "true", "go test .").await;
}
