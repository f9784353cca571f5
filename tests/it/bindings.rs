//! The bindings of C and Go are kept, so that nobody needs a generator to build a plugin. This makes them anew from
//! `wit/` and compares; `WASMILL_WRITE_BINDINGS=1` writes what is new.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};

use crate::support::root;

const KINDS: [&str; 3] = ["projection", "handler", "upcaster"];

/// Path in the checkout, and what is to stand there.
type Kept = BTreeMap<PathBuf, Vec<u8>>;

#[test]
fn kept_bindings_are_those_of_the_contract() {
    for (folder, kept) in [("guest-sdk/c/bindings", c()), ("guest-sdk/go/internal/contract", go())] {
        if std::env::var_os("WASMILL_WRITE_BINDINGS").is_some() {
            write(&kept);
        }
        let found = found(&root().join(folder));
        let names = |files: &Kept| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&kept), "{folder}: files; WASMILL_WRITE_BINDINGS=1 writes those that lack");
        for (path, bytes) in kept {
            let same = found[&path] == bytes;
            assert!(same, "{} is not made from wit/: WASMILL_WRITE_BINDINGS=1 cargo test bindings", path.display());
        }
    }
}

fn world(kind: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root().join("wit")).expect("the contract can be read");
    let world = resolve.select_world(&[package], Some(&format!("{kind}-plugin"))).expect("the kind has a world");
    (resolve, world)
}

fn c() -> Kept {
    let mut kept = Kept::new();
    // The type of the world is embedded by the build: the text of the contract lies beside it anyhow.
    let options = wit_bindgen_c::Opts {
        no_object_file: true,
        rename_world: Some("plugin".into()),
        ..wit_bindgen_c::Opts::default()
    };
    for kind in KINDS {
        let (mut resolve, world) = world(kind);
        let mut files = Files::default();
        options.build().generate(&mut resolve, world, &mut files).expect("bindings of C");
        let folder = Path::new("guest-sdk/c/bindings").join(kind);
        kept.extend(files.iter().map(|(name, bytes)| (folder.join(name), bytes.to_vec())));
    }
    kept
}

fn go() -> Kept {
    let mut kept = Kept::new();
    let options = wit_bindgen_go::Opts {
        // What a gofmt that happens to be there would make of it is not reproducible.
        format: wit_bindgen_go::Format::False,
        pkg_name: Some("wasmill/internal/contract".into()),
        quiet: true,
        ..wit_bindgen_go::Opts::default()
    };
    let folder = Path::new("guest-sdk/go/internal/contract");
    for kind in KINDS {
        let (mut resolve, world) = world(kind);
        let mut files = Files::default();
        options.build().generate(&mut resolve, world, &mut files).expect("bindings of Go");
        for (name, bytes) in files.iter() {
            // Each kind has exports of its own, and shares its imports with the others.
            let path = match name.strip_prefix("exports/wit_exports/") {
                Some(exports) => folder.join(kind).join(exports),
                None => folder.join(name),
            };
            let text = String::from_utf8(bytes.to_vec()).expect("Go is text");
            // The module of the generator is not needed: the SDK has the few types itself.
            let text = text.replace("go.bytecodealliance.org/pkg/wit/", "wasmill/internal/wit/");
            let before = kept.insert(path, text.clone().into_bytes());
            assert!(before.is_none_or(|before| before == text.as_bytes()), "{name} is the same for all kinds");
        }
    }
    kept
}

/// What is kept in a folder, with its path in the checkout. What Go's exports call is written by hand.
fn found(folder: &Path) -> Kept {
    let mut found = Kept::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the checkout") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            let bytes = std::fs::read(&path).expect("a file can be read");
            found.insert(path.strip_prefix(root()).expect("in the checkout").to_owned(), bytes);
        } else if !path.ends_with("contract/exports") {
            found.extend(self::found(&path));
        }
    }
    found
}

fn write(kept: &Kept) {
    for (path, bytes) in kept {
        let path = root().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::fs::write(path, bytes).expect("it can be written");
    }
}
