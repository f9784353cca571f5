//! What a component says it needs and gives, and whether the contract (`wit/`) allows it. Only names
//! are looked at here, before anything is compiled; types are checked when it is linked.

use wasmill_core::guest::ComponentError;
use wasmill_core::plugin::descriptor::Kind;
use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

const PACKAGE: &str = "wasmill:plugin";
/// A plugin of any 0.1.z links, if it uses nothing that this host does not have yet.
const TRACK: &str = "0.1";
const DESCRIPTOR: &str = "descriptor";
const KINDS: [Kind; 4] = [Kind::Projection, Kind::Handler, Kind::Upcaster, Kind::Saga];

/// How a batch crosses over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a list of records.
    Records,
    /// As one JSON text.
    Json,
}

/// What the names of its exports make a component that was checked before.
pub(crate) fn made_of<'a>(mut exports: impl Iterator<Item = &'a str>) -> Option<(Kind, Form)> {
    exports.find_map(|name| {
        let interface = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
        made_by(interface.split('@').next()?)
    })
}

/// What an interface that a plugin exports makes of it.
fn made_by(interface: &str) -> Option<(Kind, Form)> {
    let (name, form) = match interface.strip_suffix("-json") {
        Some(name) => (name, Form::Json),
        None => (interface, Form::Records),
    };
    let kind = KINDS.into_iter().find(|kind| kind.as_str() == name)?;
    (kind != Kind::Saga || form == Form::Records).then_some((kind, form))
}

/// Interfaces that only carry types; every kind may name them.
const TYPES: &[&str] = &["types", "events", "emitted", "outcomes"];

/// WASI is linked whole, whatever the kind: interpreters import every interface, used or not. What
/// it gives is another matter (see `sandbox::wasi`): no files, no network.
const WASI_TRACK: &str = "0.2";
const WASI: &[(&str, &[&str])] = &[
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["wall-clock", "monotonic-clock"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    (
        "wasi:sockets",
        &["network", "instance-network", "ip-name-lookup", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
    ),
];

/// What the host gives to a kind, beside types and WASI.
fn given_to(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Projection => &["log", "config", "event-details", "state", "state-json"],
        Kind::Handler => &["log", "config", "env", "event-details", "state", "state-json", "outbox", "outbox-json"],
        Kind::Upcaster => &["log", "config", "event-details"],
        Kind::Saga => &["log", "config", "env", "event-details", "outbox", "outbox-json", "saga-data", "http"],
    }
}

/// Names at the outermost level of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    imports: Vec<Item>,
    exports: Vec<Item>,
}

#[derive(Debug, PartialEq, Eq)]
struct Item {
    name: String,
    is_interface: bool,
}

impl Outline {
    /// Walks the whole binary, so that one which was cut off is found here.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ComponentError> {
        let invalid = |error: wasmparser::BinaryReaderError| ComponentError::Invalid(error.to_string());
        if !bytes.starts_with(b"\0asm") {
            return Err(ComponentError::Invalid("it does not begin with the four bytes of WebAssembly".into()));
        }
        let mut outline = Self::default();
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(invalid)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    let advice =
                        "it is a core module; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`";
                    return Err(ComponentError::Invalid(advice.into()));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(invalid)?;
                        outline.imports.push(Item::new(import.name.name, import.ty.kind()));
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(invalid)?;
                        outline.exports.push(Item::new(export.name.name, export.kind));
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// What the exports make it, or everything that is missing or not allowed.
    pub(crate) fn check(&self) -> Result<(Kind, Form), Vec<String>> {
        let mut broken = Vec::new();
        let made = self.check_exports(&mut broken);
        for import in &self.imports {
            if let Err(why) = import.check(made.map(|(kind, _)| kind)) {
                broken.push(format!("it imports `{}`, {why}", import.name));
            }
        }
        match made {
            Some(made) if broken.is_empty() => Ok(made),
            _ => Err(broken),
        }
    }

    fn check_exports(&self, broken: &mut Vec<String>) -> Option<(Kind, Form)> {
        let mut describes = false;
        let mut kinds = Vec::new();
        for export in &self.exports {
            let Some((PACKAGE, interface, version)) = export.parts() else { continue };
            if !in_track(version, TRACK) {
                broken.push(format!("it exports `{}`, {}", export.name, unknown_version()));
            }
            describes |= interface == DESCRIPTOR;
            kinds.extend(made_by(interface));
        }
        if !describes {
            broken.push(format!("it does not export `{PACKAGE}/{DESCRIPTOR}@{TRACK}.0`"));
        }
        match kinds[..] {
            [made] => Some(made),
            [] => {
                let names = KINDS.map(|kind| format!("`{PACKAGE}/{}@{TRACK}.0`", kind.as_str()));
                broken.push(format!("it exports none of {}", names.join(", ")));
                None
            }
            _ => {
                let names: Vec<_> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
                broken.push(format!("it is several things at once ({}); a plugin is one", names.join(", ")));
                None
            }
        }
    }
}

impl Item {
    fn new(name: &str, kind: ComponentExternalKind) -> Self {
        Self { name: name.to_owned(), is_interface: kind == ComponentExternalKind::Instance }
    }

    /// Package, interface and version of `package:name/interface@version`.
    fn parts(&self) -> Option<(&str, &str, &str)> {
        if !self.is_interface {
            return None;
        }
        let (path, version) = self.name.split_once('@').unwrap_or((&self.name, ""));
        let (package, interface) = path.split_once('/')?;
        Some((package, interface, version))
    }

    /// Without a kind, what any kind is given is let pass: the missing kind is reported already.
    fn check(&self, kind: Option<Kind>) -> Result<(), String> {
        let given = || match kind {
            Some(kind) => given_to(kind).to_vec(),
            None => KINDS.iter().flat_map(|kind| given_to(*kind)).copied().collect(),
        };
        let who = kind.map_or("plugin", Kind::as_str);
        let Some((package, interface, version)) = self.parts() else {
            return Err("which is not an interface; the host gives interfaces only".into());
        };
        if package == PACKAGE {
            if !in_track(version, TRACK) {
                return Err(unknown_version());
            }
            let given = given();
            if TYPES.contains(&interface) || given.contains(&interface) {
                return Ok(());
            }
            return Err(format!("which is not given to a {who}; it may import {}", given.join(", ")));
        }
        match WASI.iter().find(|(name, _)| *name == package) {
            Some((_, interfaces)) if interfaces.contains(&interface) => {
                if in_track(version, WASI_TRACK) {
                    return Ok(());
                }
                Err(format!("but this host speaks WASI {WASI_TRACK}"))
            }
            _ => Err(format!("which this host does not give to a {who}")),
        }
    }
}

fn unknown_version() -> String {
    format!("but this host speaks {PACKAGE} {TRACK}")
}

/// Whether `version` is `track.n`. Pre-releases (`0.2.0-rc.1`) are in no track: they match nothing.
fn in_track(version: &str, track: &str) -> bool {
    let patch = version.strip_prefix(track).and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(imports: &[&str], exports: &[&str]) -> Outline {
        let items =
            |names: &[&str]| names.iter().map(|name| Item { name: (*name).into(), is_interface: true }).collect();
        Outline { imports: items(imports), exports: items(exports) }
    }

    const EXPORTS: &[&str] = &["wasmill:plugin/descriptor@0.1.0", "wasmill:plugin/projection@0.1.7"];

    #[test]
    fn a_projection_with_what_it_is_given_passes() {
        let imports = ["wasmill:plugin/state@0.1.0", "wasmill:plugin/events@0.1.9", "wasi:sockets/tcp@0.2.6"];
        assert_eq!(outline(&imports, EXPORTS).check(), Ok((Kind::Projection, Form::Records)));
    }

    #[test]
    fn every_import_that_is_not_given_is_named() {
        let imports = [
            "wasmill:plugin/outbox@0.1.0",
            "wasmill:plugin/state@0.2.0",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:io/poll@0.3.0",
            "wasi:clocks/wall-clock@0.2.0-rc-1",
            "acme:thing/x",
        ];
        let broken = outline(&imports, EXPORTS).check().unwrap_err();
        assert_eq!(broken.len(), imports.len());
        for (broken, import) in broken.iter().zip(imports) {
            assert!(broken.contains(import), "{broken}");
        }
        assert!(broken[1].ends_with("speaks wasmill:plugin 0.1"), "{}", broken[1]);
    }

    #[test]
    fn missing_exports_and_foreign_imports_are_reported_together() {
        let broken = outline(&["acme:thing/x@1.0.0"], &["wasi:cli/run@0.2.0"]).check().unwrap_err();
        assert_eq!(broken.len(), 3, "{broken:?}");
        assert!(broken[0].contains("wasmill:plugin/descriptor@0.1.0"));
        assert!(broken[1].contains("`wasmill:plugin/projection@0.1.0`"));
        assert!(broken[2].contains("acme:thing/x@1.0.0"));
    }

    #[test]
    fn a_kind_and_its_form_are_seen_from_the_exports() {
        let made = |interface: &str| {
            let exports = ["wasmill:plugin/descriptor@0.1.0", &format!("wasmill:plugin/{interface}@0.1.0")];
            outline(&["wasmill:plugin/log@0.1.0"], &exports).check()
        };
        assert_eq!(made("handler"), Ok((Kind::Handler, Form::Records)));
        assert_eq!(made("handler-json"), Ok((Kind::Handler, Form::Json)));
        assert_eq!(made("upcaster-json"), Ok((Kind::Upcaster, Form::Json)));
        assert_eq!(made("saga"), Ok((Kind::Saga, Form::Records)));
        assert!(made("saga-json").is_err());
        let both = ["descriptor", "projection", "handler"].map(|name| format!("wasmill:plugin/{name}@0.1.0"));
        let broken = outline(&[], &both.each_ref().map(String::as_str)).check().unwrap_err();
        assert_eq!(broken, ["it is several things at once (projection, handler); a plugin is one"]);
    }

    #[test]
    fn http_is_given_to_sagas_alone() {
        let given: Vec<Kind> = KINDS.into_iter().filter(|kind| given_to(*kind).contains(&"http")).collect();
        assert_eq!(given, [Kind::Saga]);
    }

    #[test]
    fn effects_are_not_given_to_what_is_rebuilt() {
        for kind in [Kind::Projection, Kind::Upcaster] {
            assert!(["outbox", "outbox-json", "env", "http"].iter().all(|effect| !given_to(kind).contains(effect)));
        }
    }
}
