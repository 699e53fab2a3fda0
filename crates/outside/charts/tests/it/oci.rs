use charts::{Error, Freshness, Repository};
use test_kit::{ImageRegistry, free_port};

use crate::world::World;

const RECENT: Freshness = Freshness::Recent;

/// Charts pushed by the real `helm` to the real registry come back as they were, whatever the version's form.
#[tokio::test]
async fn pulls_what_helm_pushed() {
    let world = World::new();
    let registry = ImageRegistry::start();
    let host = registry.url().trim_start_matches("http://").to_owned();
    let place = format!("oci://{host}/team/charts");
    for version in ["1.2.3", "1.10.0", "2.0.0-rc.1", "1.10.0+build.5"] {
        let archive = world.chart("web", version);
        world.helm(&["push", archive.to_str().unwrap(), &place, "--plain-http"]);
    }
    let charts = world.charts();
    let schemeless = Repository::new(format!("{host}/team/charts"));
    let flagged = Repository { oci: true, ..Repository::new(format!("https://{host}/team/charts")) };
    for (at, (version, repository)) in [
        ("", &Repository::new(&place)),
        ("1.x", &schemeless),
        ("~1.2", &flagged),
        ("2.0.0-rc.1", &schemeless),
        (">0.0.0-0", &schemeless),
        ("1.10.0+build.5", &schemeless),
    ]
    .into_iter()
    .enumerate()
    {
        let directory = format!("pulled-{at}");
        std::fs::create_dir(world.path(&directory)).unwrap();
        let chart = format!("{place}/web");
        let mut arguments = vec!["pull", &chart, "--plain-http", "--destination", &directory];
        if !version.is_empty() {
            arguments.extend(["--version", version]);
        }
        world.helm(&arguments);
        let file = std::fs::read_dir(world.path(&directory)).unwrap().next().unwrap().unwrap();
        let ours = charts.pull(repository, "web", version, RECENT).await.unwrap();
        assert_eq!(
            format!("web-{}.tgz", ours.version),
            file.file_name().to_str().unwrap().replace('_', "+"),
            "{version:?}"
        );
        assert_eq!(ours.archive, std::fs::read(file.path()).unwrap(), "{version:?}");
    }
    // A chart may lie deeper than its repository's URL.
    let above = Repository::new(format!("oci://{host}/team"));
    assert_eq!(charts.pull(&above, "charts/web", "1.2.3", RECENT).await.unwrap().version, "1.2.3");
    let direct = charts.fetch(&above, &format!("oci://{host}/team/charts/web:1.2.3")).await.unwrap();
    assert_eq!(direct.digest, charts.pull(&schemeless, "web", "1.2.3", RECENT).await.unwrap().digest);

    for (chart, version) in [("web", "9.x"), ("web", "7.7.7"), ("other", "*")] {
        let error = charts.pull(&schemeless, chart, version, RECENT).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{chart} {version}: {error}");
    }
    for chart in ["../web", "", "a//b"] {
        let error = charts.pull(&schemeless, chart, "1.2.3", RECENT).await.unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{chart}: {error}");
    }
    drop(registry);
    assert!(charts.pull(&schemeless, "web", "1.2.3", RECENT).await.is_ok(), "it is in the cache");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let world = World::new();
    let host = format!("127.0.0.1:{}", free_port());
    let error = world
        .charts()
        .pull(&Repository::new(format!("{host}/team")), "web", "1.x", RECENT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("oci://{host}/team/web is unreachable: ")), "{error}");
}

/// An image is no chart.
#[tokio::test]
async fn other_artifacts_are_refused() {
    let world = World::new();
    let registry = ImageRegistry::start();
    let host = registry.url().trim_start_matches("http://").to_owned();
    let client = registry::Registry::new(registry::RegistryConfig::default()).unwrap();
    let file = world.path("blob");
    std::fs::write(&file, "{}").unwrap();
    let blob = registry::Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        digest: registry::Digest::of(b"{}"),
        size: 2,
    };
    let text = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob, "layers": [blob],
    });
    let manifest = registry::Manifest::parse(text.to_string().into()).unwrap();
    let upload = registry::Upload { manifest, blobs: vec![(blob, file)] };
    let reference = registry::Reference::parse(&format!("{host}/team/web:1.0.0")).unwrap();
    client.push(&reference, &upload, &registry::Keyring::default()).await.unwrap();
    let error = world
        .charts()
        .pull(&Repository::new(format!("{host}/team")), "web", "1.0.0", RECENT)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error}");
    assert!(error.to_string().contains("does not contain a layer with mediatype"), "{error}");
}
