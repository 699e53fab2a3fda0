//! The kustomizations of the three test repositories, and an Application's overrides on top of one of them.

use std::path::{Path, PathBuf};

use kustomize::{Options, build, to_yaml};
use serde_json::json;

use crate::disk::Disk;

fn repositories() -> PathBuf {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("crates/render/kustomize");
    workspace.join("../shared/repos").canonicalize().expect("test data ../shared/repos beside the checkout")
}

fn expected(name: &str) -> String {
    std::fs::read_to_string(repositories().join("expected/kustomize").join(name)).expect("a recorded output")
}

/// Every directory below `path` that holds a kustomization file.
fn kustomizations(path: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(path).expect("a directory").flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if entry.path().is_dir() {
            kustomizations(&entry.path(), found);
        } else if matches!(name.to_str(), Some("kustomization.yaml" | "kustomization.yml")) {
            found.push(path.to_path_buf());
        }
    }
}

fn show(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn builds_every_kustomization_of_the_repositories_byte_for_byte() {
    let root = repositories();
    let (mut compared, mut wrong) = (0, Vec::new());
    for repository in ["codedang", "waffle-world", "checkmate-kubernetes"] {
        let mut directories = Vec::new();
        kustomizations(&root.join(repository), &mut directories);
        for directory in directories {
            let path =
                directory.strip_prefix(root.join(repository)).expect("below").to_string_lossy().into_owned();
            let name = format!("{repository}_{}.yaml", path.replace('/', "_"));
            if !root.join("expected/kustomize").join(&name).exists() {
                continue;
            }
            compared += 1;
            match build(&Disk(root.join(repository)), &path, &Options::default()) {
                Ok(objects) if to_yaml(&objects) == expected(&name) => {}
                Ok(objects) => {
                    let (ours, theirs) = (to_yaml(&objects), expected(&name));
                    let line = ours.lines().zip(theirs.lines()).position(|(a, b)| a != b);
                    let line = line.unwrap_or_else(|| ours.lines().count().min(theirs.lines().count()));
                    wrong.push(format!(
                        "{name}: line {}: {:?} instead of {:?}",
                        line + 1,
                        ours.lines().nth(line),
                        theirs.lines().nth(line)
                    ));
                }
                Err(error) => wrong.push(format!("{name}: {}", show(&error))),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(compared, 41, "every recorded output is compared");
}

#[test]
fn an_application_changes_names_labels_images_and_more() {
    let host = "1234.preview.codedang.com";
    let replace = |path: &str, value: &str| format!("- op: replace\n  path: {path}\n  value: '{value}'\n");
    let options = Options::from_application(&json!({
        "version": "v5.5.0",
        "namespace": "frontend-preview",
        "namePrefix": "preview-1234-",
        "commonLabels": {"app": "preview-1234-frontend"},
        "images": ["ghcr.io/skkuding/codedang-frontend:deadbeef"],
        "patches": [
            {"target": {"kind": "ConfigMap", "name": "frontend-env"},
             "patch": replace("/data/NEXT_URL", &format!("https://{host}"))
                 + &replace("/data/NEXTAUTH_URL", &format!("https://{host}/next-auth/api/auth"))},
            {"target": {"kind": "Ingress", "name": "frontend-ingress"},
             "patch": replace("/metadata/annotations/cert-manager.io~1cluster-issuer", "letsencrypt-dns01")
                 + &replace("/spec/tls/0/hosts/0", "*.preview.codedang.com")
                 + &replace("/spec/tls/0/secretName", "frontend-preview-tls")
                 + &replace("/spec/rules/0/host", host)},
            {"target": {"kind": "Deployment", "name": "frontend"},
             "patch": replace("/spec/template/spec/containers/0/envFrom/1/secretRef/name", "preview-1234-security-keys")
                 + &replace("/spec/template/spec/containers/0/envFrom/2/secretRef/name", "preview-1234-aws-credentials")},
            {"target": {"kind": "Service", "name": "frontend"},
             "patch": replace("/spec/selector/app", "preview-1234-frontend")},
        ],
    }))
    .expect("valid options");
    let tree = Disk(repositories().join("codedang"));
    let objects = build(&tree, "infra/k8s/frontend/overlays/stage", &options)
        .unwrap_or_else(|error| panic!("{}", show(&error)));
    pretty_equal(&to_yaml(&objects), &expected("PREVIEW_frontend_pr1234.yaml"));
}

fn pretty_equal(ours: &str, theirs: &str) {
    let different = ours.lines().zip(theirs.lines()).enumerate().find(|(_, (a, b))| a != b);
    assert!(ours == theirs, "{different:?}, {} and {} lines", ours.lines().count(), theirs.lines().count());
}
