//! The workspace as reported by `cargo metadata`: members, dependencies, binaries, licences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::{HouseError, Result};

/// The workspace as cargo resolves it.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Directory of the workspace manifest.
    pub root: PathBuf,
    /// Members, sorted by name.
    pub members: Vec<Member>,
    /// Packages from a registry, sorted by name and version.
    pub third_party: Vec<ThirdParty>,
    /// Binary targets of the members, sorted by name.
    pub binaries: Vec<Binary>,
}

/// One member of the workspace.
#[derive(Debug, Default)]
pub struct Member {
    /// Package name.
    pub name: String,
    /// Directory relative to the workspace, without a trailing slash.
    pub directory: String,
    /// Whether other packages can depend on it.
    pub has_library: bool,
    /// Root files of library and binaries, relative to the workspace.
    pub roots: Vec<String>,
    /// Dependencies as the code names them, sorted.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a member.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// Name of the crate in source code.
    pub crate_name: String,
    /// Whether it is a normal dependency (and not only one of tests, benchmarks or build scripts).
    pub normal: bool,
}

/// A package from a registry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThirdParty {
    /// Package name.
    pub name: String,
    /// Version in the lock file.
    pub version: String,
    /// SPDX expression of its manifest, empty if it has none.
    pub licence: String,
}

/// What a binary is linked from, by normal dependencies.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binary {
    /// Target name.
    pub name: String,
    /// Members of the workspace beside its own package, sorted.
    pub members: Vec<String>,
    /// Number of packages from registries.
    pub third_party: usize,
}

/// The one platform that is built for; dependencies of others do not count.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Runs `cargo metadata` in `directory`, offline and with the lock file as it is.
///
/// # Errors
/// [`HouseError::Metadata`] and [`HouseError::Json`].
pub fn read(directory: &Path) -> Result<Workspace> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", PLATFORM])
        .current_dir(directory)
        .output()
        .map_err(|error| HouseError::Metadata(error.to_string()))?;
    if !output.status.success() {
        return Err(HouseError::Metadata(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the JSON document of `cargo metadata`.
///
/// # Errors
/// [`HouseError::Json`].
pub fn parse(json: &str) -> Result<Workspace> {
    let document: Value = serde_json::from_str(json)?;
    let root = PathBuf::from(text(&document["workspace_root"]));
    let ids: BTreeSet<&str> = items(&document["workspace_members"]).map(text).collect();
    let nodes: BTreeMap<&str, &Value> =
        items(&document["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let names: BTreeMap<&str, &str> =
        items(&document["packages"]).map(|package| (text(&package["id"]), text(&package["name"]))).collect();

    let mut workspace = Workspace { root, ..Workspace::default() };
    for package in items(&document["packages"]) {
        let id = text(&package["id"]);
        if !ids.contains(id) {
            // A path dependency outside of the workspace is the project's own.
            if package["source"].is_string() {
                workspace.third_party.push(ThirdParty {
                    name: text(&package["name"]).to_owned(),
                    version: text(&package["version"]).to_owned(),
                    licence: text(&package["license"]).to_owned(),
                });
            }
            continue;
        }
        workspace.members.push(member(&workspace.root, package, nodes.get(id).copied()));
        let linked = closure(&nodes, id);
        let (own, other): (Vec<&str>, Vec<&str>) = linked.into_iter().partition(|id| ids.contains(id));
        let mut own: Vec<String> =
            own.iter().filter_map(|id| names.get(id)).map(|&name| name.into()).collect();
        own.sort();
        for target in items(&package["targets"]).filter(|target| is_kind(target, "bin")) {
            workspace.binaries.push(Binary {
                name: text(&target["name"]).to_owned(),
                members: own.clone(),
                third_party: other.len(),
            });
        }
    }
    workspace.members.sort_by(|a, b| a.name.cmp(&b.name));
    workspace.third_party.sort();
    workspace.binaries.sort();
    Ok(workspace)
}

fn member(root: &Path, package: &Value, node: Option<&Value>) -> Member {
    let relative = |path: &Value| {
        let path = Path::new(text(path));
        path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
    };
    let manifest = relative(&package["manifest_path"]);
    let targets = || items(&package["targets"]);
    let mut dependencies: Vec<Dependency> = items(node.map_or(&Value::Null, |node| &node["deps"]))
        .map(|dependency| Dependency {
            crate_name: text(&dependency["name"]).to_owned(),
            normal: is_normal(dependency),
        })
        .collect();
    dependencies.sort();
    Member {
        name: text(&package["name"]).to_owned(),
        directory: manifest.strip_suffix("/Cargo.toml").unwrap_or("").to_owned(),
        has_library: targets().any(|target| is_kind(target, "lib")),
        roots: targets()
            .filter(|target| is_kind(target, "lib") || is_kind(target, "bin"))
            .map(|target| relative(&target["src_path"]))
            .collect(),
        dependencies,
    }
}

/// Packages that `id` reaches by normal dependencies, without itself.
fn closure<'a>(nodes: &BTreeMap<&'a str, &'a Value>, id: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in items(&node["deps"]).filter(|dependency| is_normal(dependency)) {
            let id = text(&dependency["pkg"]);
            if reached.insert(id) {
                open.push(id);
            }
        }
    }
    reached
}

fn is_normal(dependency: &Value) -> bool {
    items(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
}

fn is_kind(target: &Value, kind: &str) -> bool {
    items(&target["kind"]).any(|value| text(value) == kind)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{
        "workspace_root": "/w",
        "workspace_members": ["a", "b"],
        "packages": [
            {"id": "a", "name": "alpha", "manifest_path": "/w/alpha/Cargo.toml", "source": null, "targets": [
                {"name": "alpha", "kind": ["bin"], "src_path": "/w/alpha/src/main.rs"}]},
            {"id": "b", "name": "beta", "manifest_path": "/w/crates/beta/Cargo.toml", "source": null, "targets": [
                {"name": "beta", "kind": ["lib"], "src_path": "/w/crates/beta/src/lib.rs"},
                {"name": "t", "kind": ["test"], "src_path": "/w/crates/beta/tests/t.rs"}]},
            {"id": "c", "name": "gamma-ray", "version": "1.2.0", "license": "MIT", "source": "registry", "targets": []},
            {"id": "d", "name": "delta", "version": "0.1.0", "license": null, "source": "registry", "targets": []}
        ],
        "resolve": {"nodes": [
            {"id": "a", "deps": [
                {"name": "beta", "pkg": "b", "dep_kinds": [{"kind": null}]},
                {"name": "delta", "pkg": "d", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "b", "deps": [{"name": "gamma_ray", "pkg": "c", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}]},
            {"id": "c", "deps": []},
            {"id": "d", "deps": []}
        ]}
    }"#;

    #[test]
    fn members_have_their_directories_roots_and_dependencies() {
        let workspace = parse(DOCUMENT).unwrap();
        let [alpha, beta] = &workspace.members[..] else { panic!("{workspace:?}") };
        assert_eq!((alpha.directory.as_str(), alpha.has_library), ("alpha", false));
        assert_eq!((beta.directory.as_str(), beta.has_library), ("crates/beta", true));
        assert_eq!(beta.roots, ["crates/beta/src/lib.rs"]);
        assert_eq!(beta.dependencies, [Dependency { crate_name: "gamma_ray".into(), normal: true }]);
        assert!(!alpha.dependencies[1].normal, "delta is for the tests");
    }

    #[test]
    fn a_binary_links_what_normal_dependencies_reach() {
        let workspace = parse(DOCUMENT).unwrap();
        let expected = Binary { name: "alpha".into(), members: vec!["beta".into()], third_party: 1 };
        assert_eq!(workspace.binaries, [expected]);
        assert_eq!(workspace.third_party[1].licence, "MIT");
    }
}
