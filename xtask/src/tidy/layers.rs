//! Dependencies point down: a crate uses its own layer or a lower one, and no service uses another.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Finding;

/// The layers in the order in which they may lean on each other. `Test` is for tests only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Model,
    Engine,
    Adapter,
    Service,
    App,
    Test,
}

impl Layer {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "model" => Self::Model,
            "engine" => Self::Engine,
            "adapter" => Self::Adapter,
            "service" => Self::Service,
            "app" => Self::App,
            "test" => Self::Test,
            other => bail!("{other:?} is no layer"),
        })
    }

    fn may_use(self, other: Self) -> bool {
        match self {
            Self::Service => other < Self::Service,
            Self::App => other < Self::App,
            Self::Test => true,
            layer => other <= layer,
        }
    }
}

/// Checks every edge between crates of the workspace; `metadata` is what `cargo metadata --no-deps` prints.
/// Dependencies of tests only are free.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut layers = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let layer = package["metadata"]["mainstay"]["layer"]
            .as_str()
            .with_context(|| format!("{name}: package.metadata.mainstay.layer is missing"))?;
        layers.insert(name, Layer::parse(layer).with_context(|| format!("layer of {name}"))?);
    }
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let Some(lower) = layers.get(other).filter(|_| dependency["kind"] != "dev") else { continue };
            let layer = layers[name];
            if !layer.may_use(*lower) {
                findings.push(Finding {
                    place: package["manifest_path"].as_str().unwrap_or(name).to_owned(),
                    problem: format!("{name} ({layer:?}) may not use {other} ({lower:?})"),
                });
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, layer: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        json!({
            "name": name,
            "manifest_path": format!("{name}/Cargo.toml"),
            "metadata": {"mainstay": {"layer": layer}},
            "dependencies": dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect::<Vec<_>>(),
        })
    }

    fn problems(packages: &[Value]) -> Vec<String> {
        check(&json!({"packages": packages})).unwrap().into_iter().map(|finding| finding.problem).collect()
    }

    #[test]
    fn finds_edges_that_point_up_or_between_services() {
        assert_eq!(
            problems(&[
                package("objects", "model", &[("store", None)]),
                package("store", "adapter", &[("objects", None)]),
                package("apiserver", "service", &[("store", None), ("kubelet", None)]),
                package("kubelet", "service", &[]),
            ]),
            [
                "objects (Model) may not use store (Adapter)",
                "apiserver (Service) may not use kubelet (Service)"
            ]
        );
    }

    #[test]
    fn lets_tests_use_anything() {
        assert_eq!(
            problems(&[
                package("client", "adapter", &[("test-kit", Some("dev")), ("serde", None)]),
                package("test-kit", "test", &[("apiserver", None)]),
                package("apiserver", "service", &[]),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn refuses_a_crate_without_a_layer() {
        let nameless = json!({"packages": [{"name": "x", "metadata": null, "dependencies": []}]});
        assert!(check(&nameless).unwrap_err().to_string().contains("x: package.metadata.mainstay.layer"));
    }
}
