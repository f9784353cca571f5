//! `wasmill plugin new`: a project that builds and deploys as it is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::quoted;

/// `RUST` and `JS`: paths and texts, collected by `build/projects.rs` when this binary was built.
mod projects {
    include!(concat!(env!("OUT_DIR"), "/projects.rs"));
    pub(super) const ALL: [&[(&str, &str)]; 2] = [RUST, JS];
}

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
    /// Where the project goes; a folder there has to be empty [default: a folder of the plugin's name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Language {
    Rust,
    Js,
}

#[derive(Serialize)]
struct Written {
    name: String,
    lang: Language,
    path: String,
    files: usize,
    /// What builds it, run in `path`.
    build: &'static str,
    /// What the build makes, seen from `path`.
    component: String,
}

impl Show for Written {
    fn to_text(&self) -> String {
        let Written { name, path, files, build, component, .. } = self;
        format!(
            "wrote {files} files to {path}; its README.md says more\n\n  cd {}\n  {build}\n  \
             wasmill plugin deploy {component}\n  wasmill projection query {name} types",
            quoted(path)
        )
    }
}

impl Language {
    fn files(self) -> &'static [(&'static str, &'static str)] {
        let [rust, js] = projects::ALL;
        match self {
            Language::Rust => rust,
            Language::Js => js,
        }
    }

    fn build(self) -> &'static str {
        match self {
            Language::Rust => "cargo build --release --target wasm32-wasip2",
            Language::Js => "npm install && npm run build",
        }
    }

    fn component(self, name: &str) -> String {
        match self {
            Language::Rust => format!("target/wasm32-wasip2/release/{}.wasm", crate_name(name)),
            Language::Js => format!("{name}.wasm"),
        }
    }
}

pub(crate) fn run(args: &NewArgs, output: Output) -> Result<(), Failure> {
    check_name(&args.name, args.lang)?;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let path = folder.display().to_string();
    write(&folder, &args.name, args.lang)?;
    let NewArgs { name, lang, .. } = args.clone();
    let (files, build, component) = (lang.files().len(), lang.build(), lang.component(&name));
    output.show(&Written { name, lang, path, files, build, component })
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

fn write(folder: &Path, name: &str, lang: Language) -> Result<(), Failure> {
    let in_folder = |error: std::io::Error| Failure::file(&folder.display().to_string(), &error);
    fs::create_dir_all(folder).map_err(in_folder)?;
    if fs::read_dir(folder).map_err(in_folder)?.next().is_some() {
        let message = format!("{} is not empty; nothing was written", folder.display());
        return Err(Failure::failed("folder_not_empty", message).with_help("--path takes another folder"));
    }
    for (path, text) in lang.files() {
        let file = folder.join(path);
        let failed = |error: std::io::Error| Failure::file(&file.display().to_string(), &error);
        fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(failed)?;
        fs::write(&file, filled(path, text, name)).map_err(failed)?;
    }
    Ok(())
}

/// The template's files have holes; the SDK and the contract are copied as they are.
fn filled(path: &str, text: &str, name: &str) -> String {
    if path.starts_with("wasmill-guest/") || path.starts_with("wit/") {
        return text.to_owned();
    }
    text.replace("{{name}}", name)
        .replace("{{crate_name}}", &crate_name(name))
        .replace("{{sdk}}", "{ path = \"wasmill-guest\" }")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_complete_and_has_no_holes() {
        let essential: [(Language, &[&str]); 2] = [
            (Language::Rust, &["Cargo.toml", "src/lib.rs", "wasmill-guest/Cargo.toml", "wasmill-guest/src/lib.rs"]),
            (Language::Js, &["package.json", "src/plugin.js", "wasmill-guest/index.js", "wasmill-guest/package.json"]),
        ];
        for (lang, essential) in essential {
            let paths: Vec<_> = lang.files().iter().map(|(path, _)| *path).collect();
            for path in essential.iter().chain(&["README.md", ".gitignore", "wit/plugin.wit"]) {
                assert!(paths.contains(path), "{lang:?} lacks {path}: {paths:?}");
            }
            for (path, text) in lang.files() {
                let own = !path.starts_with("wasmill-guest/");
                assert!(!own || !filled(path, text, "my-plugin").contains("{{"), "{lang:?}: {path} has a hole");
            }
        }
    }

    #[test]
    fn a_rust_project_needs_no_workspace_of_ours() {
        let manifests = Language::Rust.files().iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
        for (path, text) in manifests {
            assert!(!text.contains(".workspace = true") && !text.contains("workspace = true }"), "{path}");
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("p");
        write(&inside, "p", Language::Js).unwrap();
        let failure = write(&inside, "p", Language::Rust).unwrap_err();
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
