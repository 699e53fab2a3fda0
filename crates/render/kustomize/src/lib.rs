//! Kustomizations to Kubernetes objects, as real kustomize builds them.
//!
//! Owns everything between a directory with a `kustomization.yaml` and the finished list of objects: bases and
//! components, generators with their content hashes, patches, the name, namespace, label, image and replica
//! transformers, replacements and variables, the repair of references to renamed objects, and the output order.
//! [`Options`] are what an Argo CD Application adds on top, applied as `kustomize edit` would.
//!
//! [`Settings`] are the flags of `kustomize build`.
//!
//! Must hold: the output equals that of kustomize 5.8 byte for byte, and errors have its text. The repository is not
//! trusted: files are read only from the kustomization's own directory downwards, bases only inside the tree, and
//! nesting, number of files and expanded aliases are limited. Keeps out I/O: what lies outside the tree (remote bases
//! and files, charts of repositories) comes through a [`Remote`]. Keeps out programs: only builtin plugins exist.

#![forbid(unsafe_code)]

mod build;
mod charts;
mod config;
mod decode;
mod error;
mod fieldspec;
mod generate;
mod id;
mod kustomization;
mod loader;
mod merge;
mod node;
mod options;
mod order;
mod origin;
mod plugin;
mod read;
mod remote;
mod resolve;
mod resource;
mod resources;
mod schema;
mod settings;
mod transform;

pub use error::Error;
pub use options::Options;
pub use remote::{ChartReference, FetchError, Remote, Repository};
use serde_json::Value;
pub use settings::{LoadRestrictor, Reorder, Settings};

/// Builds the kustomization in the directory `path` of the tree (`""` is its root) and returns the objects in
/// output order. Nothing is fetched and no chart rendered; [`build_with`] can do both.
///
/// # Errors
/// If the kustomization, or anything it refers to, cannot be read, is malformed or uses what is not supported;
/// the text names the file and the field.
///
/// ```
/// use tree::{MemoryTree, TreePath};
///
/// let mut tree = MemoryTree::new();
/// tree.insert(TreePath::parse("kustomization.yaml").unwrap(), "configMapGenerator: [{name: a, literals: [x=1]}]");
/// let objects = kustomize::build(&tree, "", &kustomize::Options::default()).unwrap();
/// assert_eq!(objects[0]["metadata"]["name"], "a-hmg6f82fh6");
/// ```
pub fn build(tree: &dyn tree::Tree, path: &str, options: &Options) -> Result<Vec<Value>, Error> {
    build_with(tree, path, options, &Settings::default())
}

/// As [`build`], with the flags of `kustomize build`. `path` may also be the address of a remote kustomization.
///
/// # Errors
/// As [`build`], and if something cannot be fetched.
pub fn build_with(
    tree: &dyn tree::Tree,
    path: &str,
    options: &Options,
    settings: &Settings<'_>,
) -> Result<Vec<Value>, Error> {
    build::build(tree, path, options, settings)
}

/// The text `kustomize build` prints for these objects.
#[must_use]
pub fn to_yaml(objects: &[Value]) -> String {
    objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n")
}
