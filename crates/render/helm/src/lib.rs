//! Helm charts to manifests, as Helm 4.2 renders them.
//!
//! Owns what a chart is (directories and archives, `.helmignore`, metadata, dependencies with conditions, tags,
//! aliases and imported values), how values are merged and checked, `--set` in all its forms, and what becomes of
//! the rendered texts: documents, hooks, CRDs and notes in Helm's order. Must hold: the same bytes and the same
//! error texts as Helm; a chart can name nothing outside its own directory; archives, documents and recursion are
//! limited. Keeps out repositories of charts, the cluster, the clock and randomness: they come in through
//! [`Options`].
//!
//! ```
//! use tree::{MemoryTree, TreePath};
//!
//! let mut files = MemoryTree::new();
//! files.insert(TreePath::parse("web/Chart.yaml").unwrap(), "apiVersion: v2\nname: web\nversion: 1.0.0\n");
//! files.insert(TreePath::parse("web/values.yaml").unwrap(), "replicas: 2\n");
//! files.insert(
//!     TreePath::parse("web/templates/map.yaml").unwrap(),
//!     "kind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  replicas: {{ .Values.replicas | quote }}\n",
//! );
//! let chart = helm::load(&files, "web").unwrap();
//! let options = helm::Options { release_name: "demo".to_owned(), ..helm::Options::default() };
//! let rendered = helm::render(&chart, &options).unwrap();
//! assert_eq!(rendered.manifests[0].text, "kind: ConfigMap\nmetadata:\n  name: demo\ndata:\n  replicas: \"2\"\n");
//! ```

mod archive;
mod capabilities;
mod certificates;
mod chart;
mod dependencies;
mod error;
mod files;
mod glob;
mod ignore;
mod load;
mod manifests;
mod metadata;
mod options;
mod render;
mod schema;
mod strvals;
mod values;

pub use archive::unpack;
pub use chart::{Chart, File};
pub use error::Error;
pub use load::{load, load_archive, read, read_values};
pub use manifests::{HookInfo, Manifest};
pub use metadata::{Dependency, Metadata};
pub use options::{Options, Set, SetKind};
pub use render::{Rendered, name_from_template, render};
