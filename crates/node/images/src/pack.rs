//! Images from local files, without a registry.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use registry::{Descriptor, Digest, Manifest, Platform, Reference};
use serde_json::json;

use crate::config::Document;
use crate::store::{Disk, Draft, Image, Origin, unpack_one};
use crate::{ImageConfig, ImageError, PackError};

mod archive;
mod elf;
mod tree;

use tree::Tree;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PROGRAMS: &str = "/usr/local/bin";

/// What to make an image of. Packing the same files twice gives the same digests.
#[derive(Clone, Debug)]
pub struct PackRequest {
    /// The name it gets in the store.
    pub name: Reference,
    pub source: PackSource,
    /// Further files and programs to put in.
    pub extra: Vec<PackFile>,
    /// Empty: the program itself for [`PackSource::Program`].
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// Added to `PATH`, unless they name it.
    pub env: Vec<(String, String)>,
    pub user: String,
    pub working_dir: String,
    /// `8080/tcp`; `8080` means TCP.
    pub exposed_ports: Vec<String>,
}

impl PackRequest {
    /// An image of one program with the libraries it links, run as root with no arguments.
    pub fn program(name: Reference, path: PathBuf) -> Self {
        Self {
            name,
            source: PackSource::Program(path),
            extra: Vec::new(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            user: String::new(),
            working_dir: String::new(),
            exposed_ports: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum PackSource {
    /// An ELF program; it lands in `/usr/local/bin` beside the libraries and the loader it needs.
    Program(PathBuf),
    /// The image's root directory. Libraries that programs in it need and that are not in it are added from the system.
    Directory(PathBuf),
}

/// A file or directory to add.
#[derive(Clone, Debug)]
pub struct PackFile {
    pub source: PathBuf,
    /// Absolute path in the image.
    pub target: PathBuf,
    /// Also add the ELF libraries that it, or any program beneath it, needs.
    pub with_libraries: bool,
}

/// Builds the image, unpacks it and names it.
pub(crate) fn pack(disk: &Disk, request: &PackRequest) -> Result<Image, PackError> {
    let (tree, program) = collect(request)?;
    let _guard = disk.lock_for_adding()?;
    let temporary = disk.temporary()?;
    let archive = temporary.path().join("layer.tar");
    let (diff_id, size) = archive::write(&tree, &archive)?;
    let platform = Platform::host();
    let document = Document { config: config(request, program)?, diff_ids: vec![diff_id] };
    let config = document.to_json(&platform);
    let config_digest = Digest::of(&config);
    let manifest = manifest(&config_digest, config.len() as u64, &diff_id, size);
    let present = disk.image(&manifest.digest);
    let mut draft = Draft::default();
    if !matches!(present, Ok(Some(_))) {
        let io = |action| {
            let path = temporary.path().to_owned();
            move |source| ImageError::Io { action, path, source }
        };
        let (layer, config_file, manifest_file) = (
            temporary.path().join("layer"),
            temporary.path().join("config"),
            temporary.path().join("manifest"),
        );
        unpack_one(&archive, LAYER, diff_id, &layer, &[])
            .map_err(|reason| ImageError::Unpack { image: request.name.to_string(), reason })?;
        fs::write(&config_file, &config).map_err(io("write a configuration"))?;
        fs::write(&manifest_file, &manifest.bytes).map_err(io("write a manifest"))?;
        draft.moves = vec![
            (archive, disk.blob(&diff_id)),
            (config_file, disk.blob(&config_digest)),
            (layer, disk.layer(&diff_id)),
            (manifest_file, disk.manifest(&manifest.digest)),
        ];
    }
    disk.commit(draft, &request.name, manifest.digest, Origin::Local)?;
    match disk.look_up(&request.name)? {
        Some((image, _)) => Ok(image),
        None => Err(ImageError::NotFound(request.name.to_string()).into()),
    }
}

/// Everything the image holds, and where its program is.
fn collect(request: &PackRequest) -> Result<(Tree, Option<String>), PackError> {
    let mut tree = Tree::default();
    let program = match &request.source {
        PackSource::Directory(dir) => {
            tree.add_directory(dir, Path::new("/"), true)?;
            None
        }
        PackSource::Program(path) => {
            let name = path
                .file_name()
                .ok_or_else(|| PackError::Invalid(format!("{} has no name", path.display())))?;
            if !elf::is_program(path)? {
                let reason = "it is not an ELF program".to_owned();
                return Err(PackError::NotExecutable { path: path.clone(), reason });
            }
            let target = Path::new(PROGRAMS).join(name);
            tree.add_program(path, &target)?;
            Some(target.to_string_lossy().into_owned())
        }
    };
    for PackFile { source, target, with_libraries } in &request.extra {
        let inside =
            target.is_absolute() && !target.components().any(|c| c == std::path::Component::ParentDir);
        if !inside {
            return Err(PackError::Invalid(format!("{} is no absolute path without '..'", target.display())));
        }
        tree.add(source, target, *with_libraries)?;
    }
    add_libraries(&mut tree)?;
    tree.add_minimum();
    Ok((tree, program))
}

/// Adds what the programs in the tree need to be loaded: their interpreter where they name it, libraries beside the C
/// library, where every loader looks.
fn add_libraries(tree: &mut Tree) -> Result<(), PackError> {
    let search = elf::Search::of_system();
    let mut seen = BTreeSet::new();
    let mut waiting = tree.files();
    while let Some((target, source)) = waiting.pop() {
        if !seen.insert(target.clone()) {
            continue;
        }
        let Some(object) = elf::read(&source)? else { continue };
        if let Some(interpreter) = &object.interpreter
            && !tree.contains(interpreter)
        {
            let found = fs::canonicalize(interpreter)
                .map_err(|source| PackError::Read { path: interpreter.clone(), source })?;
            tree.add_file(&found, interpreter, 0o755, false)?;
            waiting.push((interpreter.clone(), found));
        }
        for library in &object.needed {
            let found = match search.find(library, &object, &source) {
                Some(found) => found,
                None if tree.has_library(library) => continue,
                None => {
                    return Err(PackError::MissingLibrary { path: source.clone(), library: library.clone() });
                }
            };
            if tree.has_library(library) {
                continue;
            }
            let place = search.place(library);
            let content = fs::canonicalize(&found)
                .map_err(|error| PackError::Read { path: found.clone(), source: error })?;
            tree.add_file(&content, &place, 0o755, false)?;
            waiting.push((place, content));
        }
    }
    Ok(())
}

fn config(request: &PackRequest, program: Option<String>) -> Result<ImageConfig, PackError> {
    let mut env = vec![PATH.to_owned()];
    for (name, value) in &request.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(PackError::Invalid(format!("the variable name {name:?}")));
        }
        env.retain(|entry| !entry.starts_with(&format!("{name}=")));
        env.push(format!("{name}={value}"));
    }
    let ports = request.exposed_ports.iter().map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let valid = number.parse::<u16>().is_ok_and(|number| number > 0)
            && matches!(protocol, "tcp" | "udp" | "sctp");
        if valid {
            Ok(format!("{number}/{protocol}"))
        } else {
            Err(PackError::Invalid(format!("the port {port:?}")))
        }
    });
    let ports: BTreeSet<String> = ports.collect::<Result<_, _>>()?;
    let entrypoint = match (request.entrypoint.is_empty(), program) {
        (true, Some(program)) => vec![program],
        _ => request.entrypoint.clone(),
    };
    Ok(ImageConfig {
        env,
        entrypoint,
        cmd: request.cmd.clone(),
        user: request.user.clone(),
        working_dir: request.working_dir.clone(),
        exposed_ports: ports.into_iter().collect(),
        volumes: Vec::new(),
        stop_signal: None,
    })
}

fn manifest(config: &Digest, config_size: u64, layer: &Digest, layer_size: u64) -> Manifest {
    let descriptor = |kind: &str, digest: &Digest, size: u64| Descriptor {
        media_type: kind.to_owned(),
        digest: *digest,
        size,
    };
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config, config_size),
        "layers": [descriptor(LAYER, layer, layer_size)],
    });
    let bytes =
        Bytes::from(serde_json::to_vec(&document).expect("a document of strings and numbers serialises"));
    Manifest::parse(bytes).expect("just built")
}

/// Opens a file to read it, with its path in the error.
fn open(path: &Path) -> Result<File, PackError> {
    File::open(path).map_err(|source| PackError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
