//! The manifests of real repositories and charts, through everything that the API server does to them.

use std::path::{Path, PathBuf};

use objects::{GroupVersionKind, Value, apply, decode, defaults, kinds, patch, schema, typing};
use serde_json::json;

/// A directory of the test data that lies beside the checkout. (`test-kit` has the same, but needs the API server,
/// which needs this crate.)
fn shared(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("crates/api/objects");
    root.join("../shared").join(path).canonicalize().expect("test data beside the checkout")
}

/// Every YAML document below `shared/repos/expected` and the plain manifests of the repositories.
fn manifests() -> Vec<(PathBuf, Value)> {
    let root = shared("repos");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        // Templates and value files are no manifests; what does not parse is not ours to judge.
        let Ok(documents) = yaml::documents(&text) else { continue };
        let objects = documents.into_iter().filter(|document| GroupVersionKind::of(document).is_some());
        found.extend(objects.map(|object| (file.clone(), object)));
    }
    assert!(found.len() > 500, "only {} manifests found below {}", found.len(), root.display());
    found
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
}

#[test]
fn real_manifests_are_decoded_defaulted_and_stay_in_sync() {
    let mut wrong = Vec::new();
    for (file, object) in manifests() {
        let gvk = GroupVersionKind::of(&object).unwrap();
        let mut live = object.clone();
        match decode::decode(&mut live) {
            Ok(unknown) if kinds::is_builtin(&gvk) && !unknown.is_empty() => {
                wrong.push(format!("{}: {gvk}: unknown fields {unknown:?}", file.display()));
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("{}: {gvk}: {error}", file.display())),
        }
        defaults::apply(&mut live);
        // What Git holds, compared with what the server stored of it: no difference, with or without a record.
        for original in [None, Some(&object)] {
            match patch::three_way(original, &object, &live, &gvk) {
                Ok(patch) if patch == json!({}) || patch.get("stringData").is_some() => {}
                Ok(patch) => wrong.push(format!("{}: {gvk}: not in sync: {patch}", file.display())),
                Err(error) => wrong.push(format!("{}: {gvk}: {error}", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{} problems:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn real_manifests_apply_on_the_server_and_again_without_change() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let writer = apply::Writer { manager: "argocd-controller", subresource: "", now };
    for (file, mut object) in manifests() {
        let gvk = GroupVersionKind::of(&object).unwrap();
        if decode::decode(&mut object).is_err() {
            continue;
        }
        let typing = typing::Typing::of(&gvk);
        let place = || format!("{}: {gvk}", file.display());
        let first = apply::apply(None, &object, writer, apply::OnConflict::Fail, typing)
            .unwrap_or_else(|error| panic!("{}: {error}", place()));
        let again = apply::apply(Some(&first), &object, writer, apply::OnConflict::Fail, typing).unwrap();
        assert_eq!(first, again, "{}", place());
    }
}

#[test]
fn schemas_of_real_definitions_are_read() {
    let mut read = 0;
    let mut files = Vec::new();
    collect(&shared("charts"), &mut files);
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        if !text.contains("kind: CustomResourceDefinition") {
            continue;
        }
        for document in yaml::documents(&text).unwrap_or_default() {
            if document["kind"] != "CustomResourceDefinition" {
                continue;
            }
            for version in document["spec"]["versions"].as_array().into_iter().flatten() {
                let name = version["name"].as_str().unwrap();
                let schema = schema::Schema::from_crd(&document, name)
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                if let Some(schema) = schema {
                    let mut object =
                        json!({"apiVersion": "x/v1", "kind": "X", "spec": null, "status": {"odd": 1}});
                    schema.prune(&mut object);
                    schema.fill(&mut object);
                    // A null spec is absence: it may be required, but has no wrong type.
                    let errors = schema.validate(&object);
                    let typed = |error: &schema::FieldError| error.kind == schema::ErrorKind::TypeInvalid;
                    assert!(!errors.iter().any(typed), "{}: {errors:?}", file.display());
                    read += 1;
                }
            }
        }
    }
    assert!(read > 30, "only {read} schemas were found");
}
