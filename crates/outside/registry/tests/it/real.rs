//! Debian's `docker-registry`.

use std::process::Command;

use registry::{Cause, Credentials, Digest, Keyring, Platform, Reference, Registry, RegistryConfig};
use test_kit::{ImageRegistry, Process, find_program, free_port};

use crate::image::{descriptor, image};

fn registry(config: RegistryConfig) -> Registry {
    Registry::new(config).unwrap()
}

fn host_of(server: &ImageRegistry) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_by_tag_digest_and_mirror() {
    let server = ImageRegistry::start();
    let host = host_of(&server);
    let dir = tempfile::tempdir().unwrap();
    let layer = vec![7; 3 << 20];
    let upload = image(dir.path(), &layer);
    let client = registry(RegistryConfig::default());
    let none = Keyring::default();
    let name = Reference::parse(&format!("{host}/team/app:1")).unwrap();
    let digest = client.push(&name, &upload, &none).await.unwrap();
    assert_eq!(digest, upload.manifest.digest);
    assert_eq!(client.push(&name, &upload, &none).await.unwrap(), digest, "a second push sends nothing new");

    let resolved = client.resolve(&name, &Platform::host(), &none).await.unwrap();
    assert_eq!(resolved, upload.manifest);
    let by_digest = client.resolve(&name.with_digest(digest), &Platform::host(), &none).await.unwrap();
    assert_eq!(by_digest, upload.manifest);

    let mirrored = RegistryConfig {
        mirrors: [("ghcr.io".to_owned(), vec![server.url()])].into(),
        ..RegistryConfig::default()
    };
    let client = registry(mirrored);
    let elsewhere = Reference::parse("ghcr.io/team/app:1").unwrap();
    let resolved = client.resolve(&elsewhere, &Platform::host(), &none).await.unwrap();
    assert_eq!(resolved.digest, digest);
    let file = dir.path().join("pulled");
    client.blob(&elsewhere, &resolved.layers[0], &none, &file).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), layer);
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    let server = ImageRegistry::start();
    let client = registry(RegistryConfig::default());
    let none = Keyring::default();
    let name = Reference::parse(&format!("{}/no/such:9", host_of(&server))).unwrap();
    let error = client.resolve(&name, &Platform::host(), &none).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), format!("failed to resolve reference \"{name}\": {name}: not found"));
    let blob = descriptor("x", b"never pushed");
    let file = tempfile::tempdir().unwrap().path().join("x");
    assert!(client.blob(&name, &blob, &none, &file).await.is_err());
}

/// A registry that wants a password: `user` and `secret`.
struct Protected {
    host: String,
    _process: Process,
    _data: tempfile::TempDir,
}

fn protected() -> Protected {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    // bcrypt of "secret".
    std::fs::write(
        data.path().join("htpasswd"),
        "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n",
    )
    .unwrap();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {0}/data\nhttp:\n  addr: 127.0.0.1:{port}\n\
         auth:\n  htpasswd:\n    realm: test\n    path: {0}/htpasswd\n",
        data.path().display()
    );
    let path = data.path().join("config.yml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(find_program("docker-registry"));
    command.arg("serve").arg(path);
    let process = Process::serving(&mut command, port, &data.path().join("log"));
    Protected { host: format!("127.0.0.1:{port}"), _process: process, _data: data }
}

#[tokio::test]
async fn passwords_of_pull_secrets_open_the_door() {
    let server = protected();
    let dir = tempfile::tempdir().unwrap();
    let upload = image(dir.path(), b"layer");
    let client = registry(RegistryConfig::default());
    let name = Reference::parse(&format!("{}/a:1", server.host)).unwrap();
    let secret = |user: &str, password: &str| {
        let text =
            format!(r#"{{"auths":{{"{}":{{"username":"{user}","password":"{password}"}}}}}}"#, server.host);
        Keyring::from_docker_config_json(text.as_bytes()).unwrap()
    };
    let right = secret("user", "secret");
    client.push(&name, &upload, &right).await.unwrap();
    client.resolve(&name, &Platform::host(), &right).await.unwrap();

    for wrong in [Keyring::default(), secret("user", "wrong")] {
        let error = client.resolve(&name, &Platform::host(), &wrong).await.unwrap_err();
        assert!(error.is_denied(), "{error}");
        assert!(error.to_string().contains("pull access denied"), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }

    // The next secret is tried when one is refused.
    let mut both = secret("user", "wrong");
    both.extend(right);
    client.resolve(&name, &Platform::host(), &both).await.unwrap();
    let digest: Digest = upload.manifest.layers[0].digest;
    let file = dir.path().join("pulled");
    client.blob(&name, &upload.manifest.layers[0], &both, &file).await.unwrap();
    assert_eq!(Digest::of(&std::fs::read(file).unwrap()), digest);
}

#[tokio::test]
async fn every_endpoint_is_named_when_none_answers() {
    let port = free_port();
    let mirror = format!("http://127.0.0.1:{port}");
    let config = RegistryConfig {
        mirrors: [(format!("127.0.0.1:{port}"), vec![mirror.clone()])].into(),
        ..RegistryConfig::default()
    };
    let name = Reference::parse(&format!("127.0.0.1:{port}/a:1")).unwrap();
    let error = registry(config).resolve(&name, &Platform::host(), &Keyring::default()).await.unwrap_err();
    let registry::Error::Attempts { attempts, .. } = &error else { panic!("{error}") };
    assert!(attempts.iter().all(|attempt| matches!(attempt.cause, Cause::Transport { .. })), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(Keyring::single("x", Credentials::Anonymous).lookup(&name).is_empty());
}
