//! A registry that holds stand-ins for the images CheckMate names.

use std::path::Path;
use std::process::Command;

use test_kit::{ImageRegistry, StandIn};

/// CheckMate's services: the port that the chart gives each, and the tags that are there. The gateway has a newer one to
/// release.
pub(crate) const SERVICES: [(&str, u16, &[&str]); 6] = [
    ("gateway", 8080, &["7", "8"]),
    ("user", 8081, &["7"]),
    ("community", 8082, &["7"]),
    ("study", 8083, &["7"]),
    ("store", 8084, &["7"]),
    ("eureka", 8761, &["41"]),
];

/// A registry with the stand-ins, under the names they have at the registries they stand for.
pub(crate) fn checkmate() -> ImageRegistry {
    let registry = ImageRegistry::start();
    let host = registry.url().trim_start_matches("http://").to_owned();
    let data = tempfile::tempdir().expect("a temporary directory");
    for (service, port, tags) in SERVICES {
        let name = format!("ghcr.io/checkmateit/checkmate-{service}");
        for tag in tags {
            let (port, name) = (format!("PORT={port}"), format!("{name}:{tag}"));
            let (service, version) = (format!("SERVICE_NAME={service}"), format!("VERSION={tag}"));
            let program = env!("CARGO_BIN_EXE_mainstay");
            let pack =
                ["pack", program, "--tag", &name, "--cmd", "demo-service", "--env", &port, "--env", &service];
            image(data.path(), &[&pack[..], &["--env", &version]].concat());
            image(data.path(), &["push", &name, "--to", &name.replace("ghcr.io", &host)]);
        }
    }
    for stand_in in [StandIn::postgres(), StandIn::redis()] {
        let arguments = stand_in.pack_arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        image(data.path(), &[&["pack"], arguments.as_slice()].concat());
        image(
            data.path(),
            &["push", stand_in.name(), "--to", &format!("{host}/library/{}", stand_in.name())],
        );
    }
    registry
}

fn image(data: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .arg("image")
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .output()
        .expect("start mainstay image");
    assert!(
        output.status.success(),
        "mainstay image {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
