//! Collects the files of a new plugin project, for `wasmill plugin new`: the templates of its language, the
//! contract, and the SDK as it is now, so that a project builds with nothing but the language's own tools.
//! `examples/plugin-templates/README.md` says what belongs in one.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Languages, each with the folder of its SDK in `guest-sdk`, the one in a project, and what belongs in it: paths
/// that begin so.
const LANGUAGES: [(&str, &str, &str, &[&str]); 5] = [
    ("rust", "", "wasmill-guest", &["Cargo.toml", "src/"]),
    (
        "js",
        "js",
        "wasmill",
        &[
            "build.js",
            "bytes.js",
            "failure.js",
            "fold.js",
            "handler.js",
            "host.js",
            "http.js",
            "index.js",
            "package.json",
            "projection.js",
            "saga.js",
            "state.js",
            "testing-saga.js",
            "testing.js",
            "upcaster.js",
        ],
    ),
    ("python", "python/wasmill", "wasmill", &[""]),
    ("c", "c", "wasmill", &["bindings/", "build.sh", "host.c", "internal.h", "json.c", "run.c", "text.c", "wasmill.h"]),
    (
        "go",
        "go",
        "wasmill",
        &[
            "adapter.wat",
            "build.sh",
            "descriptor.go",
            "go.mod",
            "handler/",
            "internal/",
            "projection/",
            "upcaster/",
            "wasmill.go",
            "wasmilltest/host.go",
        ],
    ),
];

/// What a template may have beside the files of every project.
const KINDS: [&str; 4] = ["projection", "handler", "upcaster", "saga"];

/// Path in the project, and the file that it is made from.
type Files = Vec<(String, PathBuf)>;

/// Writes Rust source to `to`: `PROJECTS`, for each language its name, and by kind paths and texts, sorted by path.
/// What all kinds have comes under the kind "".
pub(crate) fn embed(to: &Path) -> Result<(), Box<dyn Error>> {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let root = host.join("../..").canonicalize()?;
    for source in ["examples/plugin-templates", "guest-sdk", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let mut code = String::from("type Texts = &'static [(&'static str, &'static str)];\n");
    code.push_str("pub(super) const PROJECTS: &[(&str, &str, Texts)] = &[\n");
    for (language, from, sdk, belonging) in LANGUAGES {
        let templates = root.join("examples/plugin-templates").join(language);
        let mut files = template(&templates.join("project"))?;
        files.push(("wit/plugin.wit".into(), root.join("wit/plugin.wit")));
        files.extend(sdk_files(&root.join("guest-sdk").join(from), sdk, belonging)?);
        write(&mut code, language, "", files)?;
        for kind in KINDS {
            let folder = templates.join(kind);
            if folder.exists() {
                write(&mut code, language, kind, template(&folder)?)?;
            }
        }
    }
    code.push_str("];\n");
    fs::write(to, code)?;
    Ok(())
}

fn write(code: &mut String, language: &str, kind: &str, mut files: Files) -> Result<(), Box<dyn Error>> {
    files.sort();
    writeln!(code, "    ({language:?}, {kind:?}, &[")?;
    for (path, file) in files {
        writeln!(code, "        ({path:?}, include_str!({:?})),", file.display().to_string())?;
    }
    writeln!(code, "    ]),")?;
    Ok(())
}

fn template(folder: &Path) -> Result<Files, Box<dyn Error>> {
    let files = walk(folder, folder)?.into_iter();
    Ok(files.filter_map(|(path, file)| Some((path.strip_suffix(".template")?.to_owned(), file))).collect())
}

fn sdk_files(from: &Path, to: &str, belonging: &[&str]) -> Result<Files, Box<dyn Error>> {
    let files = walk(from, from)?.into_iter();
    let files = files.filter(|(path, _)| belonging.iter().any(|start| path.starts_with(start)));
    Ok(files.map(|(path, file)| (format!("{to}/{path}"), file)).collect())
}

/// Every file under `folder`, with its path from `base`. What was installed or built there is left alone.
fn walk(base: &Path, folder: &Path) -> Result<Files, Box<dyn Error>> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "node_modules" && name != "target" && name != "__pycache__" {
                files.extend(walk(base, &path)?);
            }
        } else {
            let components = path.strip_prefix(base)?.components();
            let parts: Vec<_> = components.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            files.push((parts.join("/"), path));
        }
    }
    Ok(files)
}
