//! A program of the host, packed into an image with its libraries, in a container that shares nothing with the host.

use std::path::PathBuf;

use containers::ContainerSpec;
use images::{ImageStore, PackFile, PackRequest};
use registry::{Reference, Registry, RegistryConfig};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_packed_program_runs() {
    let f = Fixture::new().await;
    let registry = Registry::new(RegistryConfig::default()).unwrap();
    let store = ImageStore::open(f.dir.path().join("images"), registry).await.unwrap();
    let mut request = PackRequest::program(Reference::parse("shell:1").unwrap(), "/bin/sh".into());
    request.extra = ["/usr/bin/id", "/usr/bin/ls", "/usr/bin/cat"]
        .map(|path| PackFile { source: path.into(), target: path.into(), with_libraries: true })
        .to_vec();
    request.cmd =
        vec!["-c".to_owned(), "id -un; ls /; cat /etc/nsswitch.conf >/tmp/copy && echo ok".to_owned()];
    let image = store.pack(request).await.unwrap();
    let args = [image.config.entrypoint, image.config.cmd].concat();
    let network = PathBuf::from("/proc/self/ns/net");
    let mut spec = ContainerSpec::new("packed", image.layers, args, network, f.log("packed"));
    let variables = image.config.env.iter().filter_map(|entry| entry.split_once('='));
    spec.env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (exit, lines) = f.run(spec).await;
    assert_eq!(exit.code, 0, "{lines:?} {:?}", f.lines("packed", "stderr"));
    assert_eq!(lines.first().unwrap(), "root");
    assert_eq!(lines.last().unwrap(), "ok");
    assert!(lines.contains(&"usr".to_owned()) && !lines.contains(&"home".to_owned()), "{lines:?}");
    f.destroy().await;
}
