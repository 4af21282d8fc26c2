//! Which crate may depend on which. The picture of it is in ARCHITECTURE.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// What `cargo metadata --no-deps` says, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `None` for an ordinary one, else "dev" or "build".
    kind: Option<String>,
    /// Set for a crate of this workspace.
    path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// The place of a crate.
struct Layer {
    name: &'static str,
    /// The crates of this workspace that it may use.
    uses: &'static [&'static str],
    /// Whether unsafe code is allowed in it.
    unsafe_code: bool,
}

const fn layer(name: &'static str, uses: &'static [&'static str]) -> Layer {
    Layer { name, uses, unsafe_code: false }
}

/// Every crate of the workspace has its place here. The order is that of the picture: nothing uses
/// what stands below it.
const LAYERS: &[Layer] = &[
    layer("millstream-wire", &[]),
    layer("millstream-rpc", &["millstream-wire"]),
    layer("millstream-rules", &["millstream-wire"]),
    layer("millstream-trace", &["millstream-wire"]),
    layer(
        "millstream-stream",
        &["millstream-wire", "millstream-rpc", "millstream-rules", "millstream-trace"],
    ),
    layer("millstream-contract", &["millstream-wire", "millstream-rules"]),
    layer(
        "millstream",
        &[
            "millstream-wire",
            "millstream-rpc",
            "millstream-rules",
            "millstream-trace",
            "millstream-stream",
        ],
    ),
    Layer {
        unsafe_code: true,
        ..layer(
            "millstream-boundary",
            &[
                "millstream",
                "millstream-wire",
                "millstream-rpc",
                "millstream-rules",
                "millstream-trace",
                "millstream-stream",
                "millstream-contract",
            ],
        )
    },
    Layer { unsafe_code: true, ..layer("millstream-capi", &["millstream-boundary"]) },
    Layer { unsafe_code: true, ..layer("millstream-python", &["millstream-boundary"]) },
    Layer { unsafe_code: true, ..layer("millstream-jni", &["millstream-boundary"]) },
    layer("millstream-proto", &[]),
    layer(
        "millstream-cli",
        &["millstream", "millstream-boundary", "millstream-contract", "millstream-rules"],
    ),
    layer("reference-server", &["millstream-proto"]),
    layer("fault-server", &["millstream-proto"]),
    layer("driver-rust", &["millstream", "millstream-proto"]),
    layer("example-rust", &["millstream", "millstream-proto"]),
    layer("benches", &["millstream", "millstream-proto"]),
    layer("codegen", &["millstream-boundary"]),
    layer("xtask", &[]),
];

/// What a binding must not name: the core's means, which it gets from boundary in boundary's terms.
const NOT_IN_BINDINGS: &[&str] = &["tonic", "h2", "prost", "tokio", "hyper", "http", "rustls"];
/// What only a binding may name.
const ONLY_IN_BINDINGS: &[&str] = &["pyo3", "jni", "cbindgen"];
const BINDINGS: &[&str] = &["millstream-capi", "millstream-python", "millstream-jni"];

/// Everything that points the wrong way, a line each.
pub fn violations(metadata: &Metadata) -> Vec<String> {
    let layers: BTreeMap<&str, &Layer> = LAYERS.iter().map(|layer| (layer.name, layer)).collect();
    let mut lines = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(layer) = layers.get(name) else {
            lines.push(format!(
                "{name} has no place: say in ci/src/layers.rs what it may depend on"
            ));
            continue;
        };
        // Tests may use what they like: they are no part of what is shipped.
        let ordinary =
            package.dependencies.iter().filter(|used| used.kind.as_deref() != Some("dev"));
        for used in ordinary {
            let target = used.name.as_str();
            if used.path.is_some() {
                if !layer.uses.contains(&target) {
                    lines.push(format!("{name} depends on {target}, which is not below it"));
                }
                continue;
            }
            let binding = BINDINGS.contains(&name);
            if binding && NOT_IN_BINDINGS.iter().any(|family| belongs(target, family)) {
                lines.push(format!(
                    "{name} depends on {target}: a binding uses millstream-boundary instead"
                ));
            }
            if !binding && ONLY_IN_BINDINGS.iter().any(|family| belongs(target, family)) {
                lines.push(format!("{name} depends on {target}, which is for a binding only"));
            }
        }
    }
    lines
}

/// What the page on dependencies gets wrong: a crate from outside that it does not name in backquotes
/// in its tables, or names and nothing uses. A line each.
pub fn undocumented(metadata: &Metadata, page: &str) -> Vec<String> {
    let used: BTreeSet<&str> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .collect();
    let named: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let missing = used.difference(&named).map(|name| format!("{name} is used but has no reason"));
    let surplus = named.difference(&used).map(|name| format!("{name} is not used any longer"));
    missing.chain(surplus).map(|line| format!("{DEPENDENCIES}: {line}")).collect()
}

/// The page that names every dependency with its reason.
pub const DEPENDENCIES: &str = "docs/adr/0002-dependencies.md";

/// Whether a crate is `family` or one of its companions, such as `tokio-rustls` of `tokio`.
fn belongs(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Every place with unsafe code outside the crates that may have it, a line each.
pub fn unsafe_code(metadata: &Metadata) -> Vec<String> {
    let mut lines = Vec::new();
    for package in &metadata.packages {
        let allowed = LAYERS.iter().any(|layer| layer.name == package.name && layer.unsafe_code);
        if allowed {
            continue;
        }
        for target in &package.targets {
            let shipped = target.kind.iter().any(|kind| {
                matches!(kind.as_str(), "lib" | "rlib" | "cdylib" | "staticlib" | "bin")
            });
            if !shipped {
                continue;
            }
            match fs::read_to_string(&target.src_path) {
                Ok(text) if text.contains("#![forbid(unsafe_code)]") => {}
                Ok(_) => lines
                    .push(format!("{}: has no #![forbid(unsafe_code)]", target.src_path.display())),
                Err(error) => lines.push(format!("{}: {error}", target.src_path.display())),
            }
        }
        let root = package.manifest_path.parent().unwrap_or(Path::new("."));
        for dir in ["tests", "examples", "benches"] {
            for file in rust_files(&root.join(dir)) {
                let Ok(text) = fs::read_to_string(&file) else { continue };
                for number in unsafe_lines(&text) {
                    lines.push(format!("{}:{number}: unsafe code", file.display()));
                }
            }
        }
    }
    lines
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The numbers of the lines that use the word `unsafe` as code.
fn unsafe_lines(text: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.lines()
        .enumerate()
        .filter(|(_, line)| {
            let code = line.split("//").next().unwrap_or("");
            code.split(|c| !is_word(c)).any(|word| word == "unsafe")
        })
        .map(|(index, _)| index + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(packages: &str) -> Metadata {
        serde_json::from_str(&format!(r#"{{"packages": {packages}}}"#)).unwrap()
    }

    fn package(name: &str, dependencies: &str) -> String {
        format!(
            r#"[{{"name": "{name}", "manifest_path": "/x/Cargo.toml", "targets": [],
                 "dependencies": [{dependencies}]}}]"#
        )
    }

    fn inside(name: &str) -> String {
        format!(r#"{{"name": "{name}", "kind": null, "path": "/x/{name}"}}"#)
    }

    fn outside(name: &str) -> String {
        format!(r#"{{"name": "{name}", "kind": null, "path": null}}"#)
    }

    fn check(name: &str, dependency: &str) -> Vec<String> {
        violations(&metadata(&package(name, dependency)))
    }

    #[test]
    fn dependencies_that_point_down_are_fine() {
        assert!(check("millstream", &inside("millstream-rpc")).is_empty());
        assert!(check("millstream-boundary", &inside("millstream")).is_empty());
        assert!(check("millstream-capi", &inside("millstream-boundary")).is_empty());
        assert!(check("millstream-rpc", &outside("h2")).is_empty());
        assert!(check("millstream-python", &outside("pyo3")).is_empty());
    }

    #[test]
    fn a_dependency_that_points_up_is_reported() {
        assert_eq!(
            check("millstream-rpc", &inside("millstream-boundary")),
            ["millstream-rpc depends on millstream-boundary, which is not below it"]
        );
        assert_eq!(check("millstream-wire", &inside("millstream-rpc")).len(), 1);
        assert_eq!(check("millstream-rules", &inside("millstream-rpc")).len(), 1);
        assert_eq!(check("reference-server", &inside("millstream")).len(), 1);
    }

    #[test]
    fn a_binding_that_goes_past_the_boundary_is_reported() {
        assert_eq!(check("millstream-python", &inside("millstream-rpc")).len(), 1);
        for name in ["tokio", "tokio-stream", "tonic", "tonic-prost", "h2", "prost-types"] {
            let lines = check("millstream-jni", &outside(name));
            assert_eq!(lines.len(), 1, "{name}: {lines:?}");
            assert!(lines[0].contains("millstream-boundary instead"), "{lines:?}");
        }
    }

    #[test]
    fn a_crate_whose_name_only_begins_alike_is_not_meant() {
        assert!(check("millstream-jni", &outside("httparse")).is_empty());
        assert!(check("millstream-jni", &outside("h2o")).is_empty());
    }

    #[test]
    fn a_language_in_the_core_is_reported() {
        assert_eq!(
            check("millstream-rpc", &outside("pyo3")),
            ["millstream-rpc depends on pyo3, which is for a binding only"]
        );
        assert_eq!(check("millstream-boundary", &outside("jni-sys")).len(), 1);
    }

    #[test]
    fn what_only_tests_use_may_point_anywhere() {
        let dev = r#"{"name": "millstream-proto", "kind": "dev", "path": "/x/proto"}"#;
        assert!(check("millstream", dev).is_empty());
        let build = r#"{"name": "millstream-proto", "kind": "build", "path": "/x/proto"}"#;
        assert_eq!(check("millstream", build).len(), 1);
    }

    #[test]
    fn a_dependency_without_a_reason_and_a_reason_without_a_dependency_are_reported() {
        let metadata = metadata(&package(
            "millstream-rpc",
            &[outside("h2"), outside("http"), inside("millstream-wire")].join(","),
        ));
        let page = "Text with `code`.\n| crate | for |\n|---|---|\n| `h2`, `http` | both |\n";
        assert_eq!(undocumented(&metadata, page), Vec::<String>::new());
        let page = "| `h2` | HTTP/2, with `http` |\n| `hyper` | nothing |\n";
        assert_eq!(
            undocumented(&metadata, page),
            [
                "docs/adr/0002-dependencies.md: http is used but has no reason",
                "docs/adr/0002-dependencies.md: hyper is not used any longer"
            ]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_reported() {
        let lines = check("millstream-extra", "");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("has no place"), "{lines:?}");
    }

    #[test]
    fn no_layer_uses_one_that_stands_below_it_in_the_list() {
        for (index, layer) in LAYERS.iter().enumerate() {
            for used in layer.uses {
                let place = LAYERS.iter().position(|other| other.name == *used);
                // The order of the picture is that of the core; helpers may come in any order.
                assert!(place.is_some_and(|place| place < index), "{} uses {used}", layer.name);
            }
        }
    }

    #[test]
    fn unsafe_code_is_found_but_not_the_word_in_a_comment() {
        let text =
            "fn a() {}\n// unsafe here\nunsafe { b() }\n#![forbid(unsafe_code)]\nunsafe fn c() {}";
        assert_eq!(unsafe_lines(text), [3, 5]);
    }

    #[test]
    fn a_crate_that_does_not_forbid_unsafe_code_is_reported() {
        let dir = std::env::temp_dir().join(format!("xtask-{}-unsafe", std::process::id()));
        fs::create_dir_all(dir.join("tests")).unwrap();
        fs::write(dir.join("lib.rs"), "//! A crate.\n").unwrap();
        fs::write(dir.join("tests/it.rs"), "fn main() {\n    unsafe {}\n}\n").unwrap();
        let of = |name: &str| {
            let root = dir.display();
            unsafe_code(&metadata(&format!(
                r#"[{{"name": "{name}", "manifest_path": "{root}/Cargo.toml", "dependencies": [],
                     "targets": [{{"kind": ["lib"], "src_path": "{root}/lib.rs"}}]}}]"#
            )))
        };
        let lines = of("millstream-rpc");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("lib.rs: has no #![forbid(unsafe_code)]"), "{lines:?}");
        assert!(lines[1].ends_with("it.rs:2: unsafe code"), "{lines:?}");
        assert!(of("millstream-boundary").is_empty());
    }
}
