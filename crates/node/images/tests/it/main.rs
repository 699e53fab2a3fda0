//! Pulling from a real registry into a store.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::sync::Arc;

use images::{Image, ImageError, ImageStore, PackRequest, PackSource, PullPolicy};
use registry::{Keyring, Reference, Registry, RegistryConfig};
use test_kit::ImageRegistry;

struct Fixture {
    server: ImageRegistry,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "unpacking sets owners and whiteouts and needs root");
        Self { server: ImageRegistry::start(), dir: tempfile::tempdir().unwrap() }
    }

    fn host(&self) -> String {
        self.server.url().trim_start_matches("http://").to_owned()
    }

    async fn store(&self, name: &str) -> ImageStore {
        let config = RegistryConfig {
            mirrors: [("ghcr.io".to_owned(), vec![self.server.url()])].into(),
            ..RegistryConfig::default()
        };
        ImageStore::open(self.dir.path().join(name), Registry::new(config).unwrap()).await.unwrap()
    }

    /// Packs a directory with one file and pushes it as `ghcr.io/team/app:<tag>`.
    async fn publish(&self, tag: &str, content: &str) -> Image {
        let source = self.dir.path().join(format!("source-{tag}"));
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("file"), content).unwrap();
        let store = self.store("publisher").await;
        let request = PackRequest {
            source: PackSource::Directory(source),
            entrypoint: vec!["/file".to_owned()],
            ..PackRequest::program(name(&format!("local/app:{tag}")), "".into())
        };
        let image = store.pack(request.clone()).await.unwrap();
        let target = name(&format!("{}/team/app:{tag}", self.host()));
        let digest = store.push(&request.name, &target, &Keyring::default()).await.unwrap();
        assert_eq!(digest, image.manifest);
        image
    }
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

async fn ensure(store: &ImageStore, image: &str, policy: PullPolicy) -> Result<Image, ImageError> {
    store.ensure(&name(image), policy, &Keyring::default()).await
}

fn file_of(image: &Image) -> String {
    std::fs::read_to_string(image.layers.last().unwrap().join("file")).unwrap()
}

#[tokio::test]
async fn pulls_through_a_mirror_and_keeps_what_it_pulled() {
    let f = Fixture::new();
    let published = f.publish("1", "one").await;
    let store = f.store("node").await;
    let image = ensure(&store, "ghcr.io/team/app:1", PullPolicy::IfNotPresent).await.unwrap();
    assert_eq!((image.id, image.manifest), (published.id, published.manifest));
    assert_eq!(file_of(&image), "one");
    assert_eq!(image.config.entrypoint, ["/file"]);

    // Without the registry it is still there, for another opening of the same directory, too.
    drop(f.server);
    assert_eq!(ensure(&store, "ghcr.io/team/app:1", PullPolicy::IfNotPresent).await.unwrap(), image);
    assert_eq!(ensure(&store, "ghcr.io/team/app:1", PullPolicy::Never).await.unwrap(), image);
    let again =
        ImageStore::open(f.dir.path().join("node"), Registry::new(RegistryConfig::default()).unwrap());
    assert_eq!(again.await.unwrap().get(&name("ghcr.io/team/app:1")).await, Some(image));
}

#[tokio::test]
async fn always_follows_a_tag_that_moves() {
    let f = Fixture::new();
    let host = f.host();
    let image_name = format!("{host}/team/app:1");
    f.publish("1", "one").await;
    let store = f.store("node").await;
    let first = ensure(&store, &image_name, PullPolicy::Always).await.unwrap();
    assert_eq!(ensure(&store, &image_name, PullPolicy::Always).await.unwrap(), first);
    f.publish("1", "two").await;
    assert_eq!(file_of(&ensure(&store, &image_name, PullPolicy::IfNotPresent).await.unwrap()), "one");
    assert_eq!(file_of(&ensure(&store, &image_name, PullPolicy::Always).await.unwrap()), "two");
    assert_eq!(file_of(&first), "one", "a running container keeps its layers");
}

#[tokio::test]
async fn says_why_an_image_is_not_there() {
    let f = Fixture::new();
    let store = f.store("node").await;
    let error = ensure(&store, "ghcr.io/team/none:1", PullPolicy::Never).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImageNeverPull");
    assert_eq!(
        error.to_string(),
        "Container image \"ghcr.io/team/none:1\" is not present with pull policy of Never"
    );
    let missing = format!("{}/team/none:1", f.host());
    let error = ensure(&store, &missing, PullPolicy::IfNotPresent).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImagePull");
    assert_eq!(error.to_string(), format!("failed to pull image {missing:?}"));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with(": not found"), "{source}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pull_serves_all_who_wait() {
    let f = Fixture::new();
    f.publish("1", "one").await;
    let store = Arc::new(f.store("node").await);
    let image_name = format!("{}/team/app:1", f.host());
    let pulls = (0..20).map(|_| {
        let (store, image_name) = (Arc::clone(&store), image_name.clone());
        tokio::spawn(async move { ensure(&store, &image_name, PullPolicy::Always).await.unwrap() })
    });
    let mut images = Vec::new();
    for pull in pulls.collect::<Vec<_>>() {
        images.push(pull.await.unwrap());
    }
    assert!(images.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(leftovers(&f.dir.path().join("node/tmp")), 0);
}

#[tokio::test]
async fn what_was_packed_here_needs_no_registry() {
    let f = Fixture::new();
    f.publish("1", "one").await;
    let store = f.store("publisher").await;
    let image = ensure(&store, "local/app:1", PullPolicy::Always).await.unwrap();
    assert_eq!(file_of(&image), "one");
    assert_eq!(leftovers(&f.dir.path().join("publisher/tmp")), 0);
}

#[tokio::test]
async fn a_crash_leaves_nothing_visible() {
    let f = Fixture::new();
    f.publish("1", "one").await;
    let image_name = format!("{}/team/app:1", f.host());
    let image = ensure(&f.store("node").await, &image_name, PullPolicy::Always).await.unwrap();
    // A layer that never got to its place, and what was left of making it.
    std::fs::remove_dir_all(&image.layers[0]).unwrap();
    let tmp = f.dir.path().join("node/tmp");
    std::fs::create_dir(tmp.join("add-crashed")).unwrap();
    std::fs::write(tmp.join("add-crashed/blob"), "half").unwrap();
    let store = f.store("node").await;
    assert_eq!(leftovers(&tmp), 0);
    assert_eq!(store.get(&name(&image_name)).await, None);
    assert_eq!(ensure(&store, &image_name, PullPolicy::IfNotPresent).await.unwrap(), image);
    assert_eq!(file_of(&image), "one");
}

fn leftovers(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}
