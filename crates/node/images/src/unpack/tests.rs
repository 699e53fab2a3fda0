use std::io::{Seek as _, Write as _};

use super::*;

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// Archives of layers, unpacked on top of each other.
struct Fixture {
    dir: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

fn header(kind: EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000);
    header.set_size(size);
    header
}

/// Writes the name as it is: the builder of the `tar` crate refuses what an attacker would write.
fn raw_name(header: &mut tar::Header, name: &str) {
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
}

enum Item<'a> {
    Dir(&'a str),
    File(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    Link(&'a str, &'a str),
    Device(&'a str),
}
use Item::{Device, Dir, File as Text, Link, Symlink};

fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        let (mut header, name, content) = match item {
            Dir(name) => (header(EntryType::Directory, 0o750, 0), name, ""),
            Text(name, content) => (header(EntryType::Regular, 0o640, content.len() as u64), name, *content),
            Symlink(name, target) | Link(name, target) => {
                let kind = if matches!(item, Symlink(..)) { EntryType::Symlink } else { EntryType::Link };
                let mut header = header(kind, 0o777, 0);
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
                (header, name, "")
            }
            Device(name) => (header(EntryType::Block, 0o666, 0), name, ""),
        };
        raw_name(&mut header, name);
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(content.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

impl Fixture {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "unpacking sets owners and whiteouts and needs root");
        Self { dir: tempfile::tempdir().unwrap(), layers: Vec::new() }
    }

    fn try_add(&mut self, items: &[Item<'_>]) -> Result<PathBuf, UnpackError> {
        let bytes = archive(items);
        let target = self.dir.path().join(format!("layer{}", self.layers.len()));
        fs::create_dir(&target).unwrap();
        unpack(file_of(&bytes), PLAIN, Digest::of(&bytes), &target, &self.layers, Limits::default())?;
        self.layers.push(target.clone());
        Ok(target)
    }

    #[track_caller]
    fn add(&mut self, items: &[Item<'_>]) -> PathBuf {
        self.try_add(items).unwrap()
    }

    #[track_caller]
    fn refuses(&mut self, items: &[Item<'_>]) {
        let outside = self.dir.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        let result = self.try_add(items);
        assert!(result.is_err(), "accepted into {result:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        fs::remove_dir_all(self.dir.path().join(format!("layer{}", self.layers.len()))).unwrap();
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn writes_files_with_their_attributes() {
    let mut f = Fixture::new();
    let layer = f.add(&[
        Dir("./"),
        Dir("./etc/"),
        Text("./etc/passwd", "root"),
        Symlink("bin", "usr/bin"),
        Link("copy", "etc/passwd"),
        Device("dev/sda"),
        Text("deep/in/side", "x"),
    ]);
    assert_eq!(read(layer.join("etc/passwd")), "root");
    let metadata = fs::metadata(layer.join("etc/passwd")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime(), metadata.nlink()), (0o640, 1_000_000, 2));
    assert_eq!(fs::metadata(layer.join("etc")).unwrap().mtime(), 1_000_000);
    assert_eq!(fs::metadata(&layer).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_link(layer.join("bin")).unwrap(), Path::new("usr/bin"));
    assert!(!layer.join("dev/sda").exists(), "device nodes are left out");
    assert_eq!(fs::metadata(layer.join("deep/in")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn nothing_leaves_the_layer() {
    let mut f = Fixture::new();
    let outside = f.dir.path().join("outside");
    f.refuses(&[Text("../outside/x", "x")]);
    f.refuses(&[Text("a/../../outside/x", "x")]);
    f.refuses(&[Link("x", "../outside/y")]);
    f.refuses(&[Link("x", "/etc/passwd")]);
    f.refuses(&[Text(".wh...", "x")]);
    fs::create_dir_all(&outside).unwrap();

    // Absolute names and links mean the image's own root.
    let outside_text = outside.to_str().unwrap().to_owned();
    let layer = f.add(&[
        Text("/absolute", "x"),
        Symlink("link", &outside_text),
        Text("link/file", "inside"),
        Symlink("up", "../../../../.."),
        Text("up/file", "inside"),
        Symlink("self", "/absolute-dir"),
        Text("self/.wh.gone", ""),
    ]);
    assert_eq!(read(layer.join("absolute")), "x");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "a link led outside");
    assert_eq!(read(layer.join(outside_text.trim_start_matches('/')).join("file")), "inside");
    assert_eq!(read(layer.join("file")), "inside");
    assert!(is_whiteout(&fs::symlink_metadata(layer.join("absolute-dir/gone")).unwrap()));
}

fn is_whiteout(metadata: &fs::Metadata) -> bool {
    stack::is_whiteout(metadata)
}

#[test]
fn a_file_replaces_a_link_instead_of_following_it() {
    let mut f = Fixture::new();
    let outside = f.dir.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    let victim = outside.join("victim");
    fs::write(&victim, "safe").unwrap();
    let layer = f.add(&[Symlink("x", victim.to_str().unwrap()), Text("x", "mine")]);
    assert_eq!(read(&victim), "safe");
    assert_eq!(read(layer.join("x")), "mine");
    assert!(!layer.join("x").is_symlink());
}

#[test]
fn links_in_circles_are_refused() {
    let mut f = Fixture::new();
    f.refuses(&[Symlink("a", "b"), Symlink("b", "a"), Text("a/x", "x")]);
    f.refuses(&[Text("file", "x"), Text("file/x", "x")]);
    let deep = "d/".repeat(300);
    assert!(matches!(
        Layer { stack: Stack::new(Path::new("/"), &[]), times: Vec::new(), limits: Limits::default() }
            .parts(deep.as_bytes()),
        Err(UnpackError::Entry { .. })
    ));
}

#[test]
fn whiteouts_take_overlay_form() {
    let mut f = Fixture::new();
    f.add(&[Dir("a/"), Text("a/old", "x"), Dir("b/"), Text("b/old", "x"), Text("c", "x")]);
    let layer = f.add(&[
        Text("a/.wh.old", ""),
        Text("b/.wh..wh..opq", ""),
        Text("b/new", "y"),
        Text(".wh.c", ""),
        Dir("c/"),
        Text("c/inner", "z"),
        Text(".wh..wh.plnk", ""),
    ]);
    assert!(is_whiteout(&fs::symlink_metadata(layer.join("a/old")).unwrap()));
    assert!(is_opaque(&layer.join("b")));
    assert_eq!(read(layer.join("b/new")), "y");
    assert!(is_opaque(&layer.join("c")), "a directory in place of something removed hides it");
    assert_eq!(fs::metadata(layer.join("a")).unwrap().mode() & 0o7777, 0o750, "as in the layer below");
}

#[test]
fn layers_below_are_seen() {
    let mut f = Fixture::new();
    let base = f.add(&[
        Dir("usr/"),
        Dir("usr/lib/"),
        Text("usr/lib/a.so", "a"),
        Symlink("lib", "usr/lib"),
        Symlink("abs", "/usr"),
    ]);
    let layer =
        f.add(&[Text("lib/b.so", "b"), Text("abs/lib/c.so", "c"), Link("usr/lib/alias.so", "lib/a.so")]);
    assert!(!layer.join("lib").exists(), "the link below is followed, not hidden");
    assert_eq!(read(layer.join("usr/lib/b.so")), "b");
    assert_eq!(read(layer.join("usr/lib/c.so")), "c");
    assert_eq!(read(layer.join("usr/lib/alias.so")), "a");
    assert_eq!(read(layer.join("usr/lib/a.so")), "a", "a file linked to comes up");
    assert_eq!(fs::metadata(base.join("usr/lib/a.so")).unwrap().nlink(), 1, "the layer below is not touched");

    let third = f.add(&[Text("usr/.wh.lib", ""), Text("usr/lib/only", "o")]);
    assert!(is_opaque(&third.join("usr/lib")));
    let fourth = f.try_add(&[Link("x", "usr/lib/a.so")]);
    assert!(fourth.is_err(), "what was removed cannot be linked to");
}

#[test]
fn content_is_checked() {
    let f = Fixture::new();
    let bytes = archive(&[Text("a", "x")]);
    let unpack = |bytes: &[u8], kind: &str, limits: Limits, digest: Digest| {
        let target = tempfile::tempdir_in(f.dir.path()).unwrap();
        unpack(file_of(bytes), kind, digest, target.path(), &[], limits)
    };
    let limits = Limits::default();
    let digest = Digest::of(&bytes);
    assert!(matches!(unpack(&bytes, PLAIN, limits, Digest::of(b"")), Err(UnpackError::Digest { .. })));
    assert!(matches!(unpack(&bytes, "text/plain", limits, digest), Err(UnpackError::MediaType(_))));
    assert!(unpack(&bytes[..700], PLAIN, limits, digest).is_err());
    let small = Limits { bytes: 1024, ..limits };
    assert!(matches!(unpack(&bytes, PLAIN, small, digest), Err(UnpackError::Limit(_))));
    let few = Limits { entries: 0, ..limits };
    assert!(matches!(unpack(&bytes, PLAIN, few, digest), Err(UnpackError::Limit(_))));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&*bytes, 1).unwrap();
    unpack(&bytes, PLAIN, limits, digest).unwrap();
    unpack(&gzip, "application/vnd.docker.image.rootfs.diff.tar.gzip", limits, digest).unwrap();
    unpack(&zstd, "application/vnd.oci.image.layer.v1.tar+zstd", limits, digest).unwrap();
    assert!(
        unpack(&gzip[..gzip.len() - 9], "application/vnd.oci.image.layer.v1.tar+gzip", limits, digest)
            .is_err()
    );
}
