//! Collects the files of a new plugin project, for `wasmill plugin new`: the template of its language,
//! the contract, and the SDK as it is now, so that a project builds with nothing but the language's own
//! registry. `examples/plugin-templates/README.md` says what belongs in one.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the SDK lies in a project.
const SDK: &str = "wasmill-guest";

/// Path in the project, and the file that it is made from.
type Files = Vec<(String, PathBuf)>;

/// Writes Rust source to `to`: for each language a list of paths and texts, sorted by path.
pub(crate) fn embed(to: &Path) -> Result<(), Box<dyn Error>> {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let root = host.join("../..").canonicalize()?;
    for source in ["examples/plugin-templates", "guest-sdk", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let mut code = String::new();
    for (language, sdk) in [("rust", rust_sdk(&root)?), ("js", js_sdk(&root)?)] {
        let mut files = template(&root.join("examples/plugin-templates").join(language))?;
        files.push(("wit/plugin.wit".into(), root.join("wit/plugin.wit")));
        files.extend(sdk);
        files.sort();
        writeln!(code, "const {}: &[(&str, &str)] = &[", language.to_uppercase())?;
        for (path, file) in files {
            writeln!(code, "    ({path:?}, include_str!({:?})),", file.display().to_string())?;
        }
        writeln!(code, "];")?;
    }
    fs::write(to, code)?;
    Ok(())
}

fn template(folder: &Path) -> Result<Files, Box<dyn Error>> {
    let files = walk(folder, folder)?.into_iter();
    Ok(files.filter_map(|(path, file)| Some((path.strip_suffix(".template")?.to_owned(), file))).collect())
}

fn rust_sdk(root: &Path) -> Result<Files, Box<dyn Error>> {
    let sdk = root.join("guest-sdk");
    let mut files = walk(&sdk, &sdk.join("src"))?;
    files.push(("Cargo.toml".into(), sdk.join("Cargo.toml")));
    Ok(files.into_iter().map(|(path, file)| (format!("{SDK}/{path}"), file)).collect())
}

fn js_sdk(root: &Path) -> Result<Files, Box<dyn Error>> {
    let sdk = root.join("guest-sdk/js");
    let belongs = |path: &str| !path.contains('/') && (path.ends_with(".js") || path == "package.json");
    let files = walk(&sdk, &sdk)?.into_iter().filter(|(path, _)| belongs(path));
    Ok(files.map(|(path, file)| (format!("{SDK}/{path}"), file)).collect())
}

/// Every file under `folder`, with its path from `base`. What was installed or built there is left alone.
fn walk(base: &Path, folder: &Path) -> Result<Files, Box<dyn Error>> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "node_modules" && name != "target" {
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
