//! `wasmill plugin new`: a project that builds and deploys as it is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::quoted;

/// `PROJECTS`: language, kind or "" for all kinds, paths and texts; collected by `build/projects.rs` when this binary
/// was built.
mod projects {
    include!(concat!(env!("OUT_DIR"), "/projects.rs"));
}

/// Folders of a project that are copied as they are: the SDK, and the contract.
const COPIED: [&str; 3] = ["wasmill-guest/", "wasmill/", "wit/"];

const NAME_BYTES_MAX: usize = wasmill_core::limits::plugin::NAME_BYTES_MAX;

/// Names that cargo or the compiler keep for something else, the SDK's own crates among them.
const NOT_IN_RUST: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde-json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "wasmill-guest",
    "where",
    "while",
    "wit-bindgen",
    "yield",
];

#[derive(Args, Clone, Debug)]
pub(crate) struct NewArgs {
    /// The plugin's name: small letters, digits and hyphens
    #[arg(value_name = "NAME")]
    name: String,
    /// The language to write it in
    #[arg(long)]
    lang: Language,
    /// What it is to do: fold events into documents, answer events with events, lift old events, or do and undo steps
    #[arg(long, default_value = "projection")]
    kind: Kind,
    /// Where the project goes; a folder there has to be empty [default: a folder of the plugin's name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Language {
    Rust,
    Js,
    Python,
    C,
    Go,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Projection,
    Handler,
    Upcaster,
    Saga,
}

#[derive(Serialize)]
struct Written {
    name: String,
    lang: Language,
    kind: Kind,
    path: String,
    files: usize,
    /// What builds it, run in `path`.
    build: &'static str,
    /// What the build makes, seen from `path`.
    component: String,
}

impl Show for Written {
    fn to_text(&self) -> String {
        let Written { name, kind, path, files, build, component, .. } = self;
        let look = match kind {
            Kind::Projection => format!("wasmill projection query {name} types"),
            Kind::Handler | Kind::Upcaster | Kind::Saga => format!("wasmill plugin show {name}"),
        };
        format!(
            "wrote {files} files to {path}; its README.md says more\n\n  cd {}\n  {build}\n  \
             wasmill plugin deploy {component}\n  {look}",
            quoted(path)
        )
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Projection => "projection",
            Kind::Handler => "handler",
            Kind::Upcaster => "upcaster",
            Kind::Saga => "saga",
        }
    }
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Js => "js",
            Language::Python => "python",
            Language::C => "c",
            Language::Go => "go",
        }
    }

    /// The files of a project. None when there is no template of the kind in this language.
    fn files(self, kind: Kind) -> Option<Vec<(&'static str, &'static str)>> {
        let of = |kind: &str| {
            let found = projects::PROJECTS.iter().find(|(language, of, _)| (*language, *of) == (self.name(), kind));
            found.map(|(_, _, files)| files.iter().copied())
        };
        Some(of("")?.chain(of(kind.name())?).collect())
    }

    fn build(self) -> &'static str {
        match self {
            Language::Rust => "cargo build --release --target wasm32-wasip2",
            Language::Js => "npm install && npm run build",
            Language::Python | Language::C | Language::Go => "bash build.sh",
        }
    }

    fn component(self, name: &str) -> String {
        match self {
            Language::Rust => format!("target/wasm32-wasip2/release/{}.wasm", crate_name(name)),
            Language::Js | Language::Python | Language::C | Language::Go => format!("{name}.wasm"),
        }
    }
}

pub(crate) fn run(args: &NewArgs, output: Output) -> Result<(), Failure> {
    let NewArgs { name, lang, kind, path } = args.clone();
    check_name(&name, lang)?;
    let folder = path.unwrap_or_else(|| PathBuf::from(&name));
    let files = write(&folder, &name, lang, kind)?;
    let (path, build, component) = (folder.display().to_string(), lang.build(), lang.component(&name));
    output.show(&Written { name, lang, kind, path, files, build, component })
}

/// The host's own rule for plugin names, and the language's.
fn check_name(name: &str, lang: Language) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() > NAME_BYTES_MAX || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed)
    {
        let rule = format!("1 to {NAME_BYTES_MAX} small letters, digits and hyphens, beginning with a letter");
        return Err(Failure::usage(format!("{name:?} is not a plugin's name")).with_help(rule));
    }
    if lang == Language::Rust && NOT_IN_RUST.contains(&name) {
        return Err(Failure::usage(format!("a Rust crate cannot be called {name:?}")).with_help("choose another name"));
    }
    Ok(())
}

fn crate_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Writes the project; how many files it has.
fn write(folder: &Path, name: &str, lang: Language, kind: Kind) -> Result<usize, Failure> {
    let files = lang.files(kind).ok_or_else(|| {
        let message = format!("there is no template of a plugin of the kind {} in {}", kind.name(), lang.name());
        Failure::usage(message).with_help("--lang takes another language")
    })?;
    let in_folder = |error: std::io::Error| Failure::file(&folder.display().to_string(), &error);
    fs::create_dir_all(folder).map_err(in_folder)?;
    if fs::read_dir(folder).map_err(in_folder)?.next().is_some() {
        let message = format!("{} is not empty; nothing was written", folder.display());
        return Err(Failure::failed("folder_not_empty", message).with_help("--path takes another folder"));
    }
    for (path, text) in &files {
        let file = folder.join(path);
        let failed = |error: std::io::Error| Failure::file(&file.display().to_string(), &error);
        fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(failed)?;
        fs::write(&file, filled(path, text, name, kind)).map_err(failed)?;
    }
    Ok(files.len())
}

/// The template's files have holes; the SDK and the contract are copied as they are.
fn filled(path: &str, text: &str, name: &str, kind: Kind) -> String {
    if COPIED.iter().any(|folder| path.starts_with(folder)) {
        return text.to_owned();
    }
    text.replace("{{name}}", name)
        .replace("{{kind}}", kind.name())
        .replace("{{crate_name}}", &crate_name(name))
        .replace("{{sdk}}", "{ path = \"wasmill-guest\" }")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Projection, Kind::Handler, Kind::Upcaster, Kind::Saga];
    const LANGUAGES: [Language; 5] = [Language::Rust, Language::Js, Language::Python, Language::C, Language::Go];

    #[test]
    fn a_project_is_complete_and_has_no_holes() {
        let essential: [(Language, &[&str]); 5] = [
            (Language::Rust, &["Cargo.toml", "src/lib.rs", "wasmill-guest/Cargo.toml", "wasmill-guest/src/lib.rs"]),
            (
                Language::Js,
                &["package.json", "src/plugin.js", "wasmill/index.js", "wasmill/bytes.js", "wasmill/saga.js"],
            ),
            (Language::Python, &["build.sh", "requirements.txt", "src/plugin.py", "wasmill/__main__.py"]),
            (Language::C, &["build.sh", "src/plugin.c", "wasmill/wasmill.h", "wasmill/bindings/handler/plugin.c"]),
            (Language::Go, &["build.sh", "go.mod", "main.go", "wasmill/go.mod", "wasmill/adapter.wat"]),
        ];
        for ((lang, essential), kind) in essential.into_iter().flat_map(|of| KINDS.map(|kind| (of, kind))) {
            let Some(files) = lang.files(kind) else {
                let saga = kind == Kind::Saga && !matches!(lang, Language::Rust | Language::Js);
                let in_rust = lang == Language::Rust && matches!(kind, Kind::Handler | Kind::Upcaster);
                assert!(saga || in_rust, "{lang:?} has no template of a {}", kind.name());
                continue;
            };
            let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
            for path in essential.iter().chain(&["README.md", ".gitignore", "wit/plugin.wit"]) {
                assert!(paths.contains(path), "{lang:?} lacks {path}: {paths:?}");
            }
            for (path, text) in files {
                let own = !COPIED.iter().any(|folder| path.starts_with(folder));
                assert!(!own || !filled(path, text, "my-plugin", kind).contains("{{"), "{lang:?}: {path} has a hole");
                assert!(!path.contains("node_modules") && !path.contains("__pycache__"), "{path}");
            }
        }
        assert!(LANGUAGES.iter().all(|lang| lang.files(Kind::Projection).is_some()));
    }

    #[test]
    fn a_rust_project_needs_no_workspace_of_ours() {
        let files = Language::Rust.files(Kind::Projection).unwrap();
        for (path, text) in files.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
            assert!(!text.contains(".workspace = true") && !text.contains("workspace = true }"), "{path}");
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("p");
        write(&inside, "p", Language::Js, Kind::Projection).unwrap();
        let failure = write(&inside, "p", Language::Rust, Kind::Projection).unwrap_err();
        assert_eq!(failure.code, "folder_not_empty");
        assert!(!inside.join("Cargo.toml").exists() && inside.join("package.json").exists());
    }

    #[test]
    fn names_that_cannot_work_are_refused() {
        for (name, lang) in [("", Language::Js), ("My", Language::Js), ("1a", Language::Js), ("self", Language::Rust)] {
            assert!(check_name(name, lang).is_err(), "{name}");
        }
        assert!(check_name("order-totals-2", Language::Rust).is_ok() && check_name("self", Language::Js).is_ok());
    }
}
