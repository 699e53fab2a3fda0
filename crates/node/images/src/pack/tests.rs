use registry::{Registry, RegistryConfig};

use super::*;
use crate::ImageStore;

async fn store(dir: &Path) -> ImageStore {
    assert!(rustix::process::geteuid().is_root(), "packing unpacks with owners and needs root");
    ImageStore::open(dir.join("images"), Registry::new(RegistryConfig::default()).unwrap()).await.unwrap()
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

#[tokio::test]
async fn a_program_comes_with_its_libraries() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let mut request = PackRequest::program(name("demo:1"), "/bin/sh".into());
    request.env = vec![("A".to_owned(), "1".to_owned())];
    request.exposed_ports = vec!["80".to_owned(), "53/udp".to_owned()];
    let image = store.pack(request.clone()).await.unwrap();
    assert_eq!(image.config.entrypoint, ["/usr/local/bin/sh"]);
    assert_eq!(image.config.env, [PATH, "A=1"]);
    assert_eq!(image.config.exposed_ports, ["53/udp", "80/tcp"]);
    let root = &image.layers[0];
    let object = elf::read(Path::new("/bin/sh")).unwrap().unwrap();
    let interpreter = object.interpreter.unwrap();
    assert!(root.join(interpreter.strip_prefix("/").unwrap()).is_file());
    for library in object.needed {
        let place = elf::Search::of_system().place(&library);
        assert!(root.join(place.strip_prefix("/").unwrap()).is_file(), "{library}");
    }
    for file in ["etc/passwd", "etc/group", "etc/nsswitch.conf"] {
        assert!(root.join(file).is_file(), "{file}");
    }
    assert_eq!(store.get(&name("demo:1")).await, Some(image.clone()));

    // A change of the run-time settings keeps the layer.
    request.cmd = vec!["-c".to_owned()];
    let other = store.pack(request).await.unwrap();
    assert_ne!(other.id, image.id);
    assert_eq!(other.layers, image.layers);
}

#[tokio::test]
async fn packing_twice_gives_the_same_image() {
    let digests = async || {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("root");
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::write(source.join("sub/a"), "content").unwrap();
        std::os::unix::fs::symlink("sub/a", source.join("link")).unwrap();
        let request = PackRequest {
            source: PackSource::Directory(source),
            entrypoint: vec!["/sub/a".to_owned()],
            ..PackRequest::program(name("x"), PathBuf::new())
        };
        let image = store(dir.path()).await.pack(request).await.unwrap();
        assert_eq!(fs::read_to_string(image.layers[0].join("link")).unwrap(), "content");
        (image.id, image.manifest)
    };
    assert_eq!(digests().await, digests().await);
}

#[tokio::test]
async fn says_what_cannot_be_packed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let script = dir.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let program = |path: &Path| PackRequest::program(name("x"), path.to_owned());
    let error = store.pack(program(&script)).await.unwrap_err();
    assert!(matches!(error, PackError::NotExecutable { .. }), "{error}");
    let error = store.pack(program(Path::new("/nonexistent"))).await.unwrap_err();
    assert!(matches!(error, PackError::Read { .. }), "{error}");
    let request = PackRequest { exposed_ports: vec!["http".to_owned()], ..program(Path::new("/bin/sh")) };
    assert!(matches!(store.pack(request).await.unwrap_err(), PackError::Invalid(_)));
    let outside = PackFile { source: script, target: "/../x".into(), with_libraries: false };
    let request = PackRequest { extra: vec![outside], ..program(Path::new("/bin/sh")) };
    assert!(matches!(store.pack(request).await.unwrap_err(), PackError::Invalid(_)));
}

#[tokio::test]
async fn garbage_is_what_no_name_and_no_container_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let first = store.pack(PackRequest::program(name("a:1"), "/bin/sh".into())).await.unwrap();
    let mut request = PackRequest::program(name("a:1"), "/bin/sh".into());
    request.extra.push(PackFile {
        source: "/etc/hostname".into(),
        target: "/etc/extra".into(),
        with_libraries: false,
    });
    let second = store.pack(request).await.unwrap();
    assert_ne!(first.layers, second.layers);

    let none = BTreeSet::new();
    assert_eq!(store.gc(&BTreeSet::from([first.id])).await.unwrap(), 0);
    assert!(first.layers[0].is_dir());
    assert!(store.gc(&none).await.unwrap() > 0);
    assert!(!first.layers[0].exists());
    assert_eq!(store.get(&name("a:1")).await, Some(second.clone()));

    store.tag(&name("a:1"), &name("b:1")).await.unwrap();
    store.remove(&name("a:1")).await.unwrap();
    assert!(matches!(store.remove(&name("a:1")).await, Err(ImageError::NotFound(_))));
    store.gc(&none).await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 1);
    store.remove(&name("b:1")).await.unwrap();
    store.gc(&none).await.unwrap();
    assert!(!second.layers[0].exists());
    assert_eq!(fs::read_dir(dir.path().join("images/blobs/sha256")).unwrap().count(), 0);
}
