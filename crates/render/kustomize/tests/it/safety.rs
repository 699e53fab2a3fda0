//! What a hostile repository tries.

use kustomize::{Options, build};
use tree::{MemoryTree, TreePath};

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for (path, text) in files {
        tree.insert(TreePath::parse(path).expect("a path"), (*text).to_owned());
    }
    tree
}

fn refusal(files: &[(&str, &str)]) -> String {
    let error = build(&tree(files), "app", &Options::default()).expect_err("must be refused");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

const SECRET: (&str, &str) = ("secret.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: secret}\n");

#[test]
fn files_outside_the_kustomization_are_refused() {
    for file in [
        "resources: [../secret.yaml]",
        "patches: [{path: ../secret.yaml}]",
        "configMapGenerator: [{name: a, files: [../secret.yaml]}]",
        "configMapGenerator: [{name: a, envs: [../secret.yaml]}]",
        "replacements: [{path: ../secret.yaml}]",
        "openapi: {path: ../secret.yaml}",
        "configurations: [../secret.yaml]",
        "crds: [../secret.yaml]",
    ] {
        let text = refusal(&[("app/kustomization.yaml", file), SECRET]);
        assert!(text.contains("security; file '/secret.yaml' is not in or below '/app'"), "{file}: {text}");
    }
}

#[test]
fn paths_that_leave_the_repository_are_refused() {
    for path in ["../../outside", "/etc/passwd", "../../../../etc"] {
        let text = refusal(&[("app/kustomization.yaml", &format!("resources: [{path}]")), SECRET]);
        assert!(
            text.contains("points outside the repository") || text.contains("cannot be absolute"),
            "{path}: {text}"
        );
    }
}

#[test]
fn cycles_and_endless_nesting_are_refused() {
    let text = refusal(&[
        ("app/kustomization.yaml", "resources: [../base]"),
        ("base/kustomization.yaml", "resources: [../app]"),
    ]);
    assert!(text.contains("cycle detected"), "{text}");
    assert!(refusal(&[("app/kustomization.yaml", "resources: [.]")]).contains("cycle detected"));
    assert!(refusal(&[("app/kustomization.yaml", "components: [..]")]).contains("cycle detected"));

    let nested: Vec<(String, String)> = (0..100)
        .map(|level| (format!("d{level}/kustomization.yaml"), format!("resources: [../d{}]", level + 1)))
        .collect();
    let mut files: Vec<(&str, &str)> =
        nested.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(("app/kustomization.yaml", "resources: [../d0]"));
    assert!(refusal(&files).contains("nesting of kustomizations exceeds the limit"));
}

#[test]
fn bases_that_multiply_are_limited() {
    let mut files = Vec::new();
    for level in 0..20 {
        files.push((
            format!("d{level}/kustomization.yaml"),
            format!("components: [../d{0}, ../d{0}]\nkind: Component", level + 1),
        ));
    }
    files
        .push(("d20/kustomization.yaml".to_owned(), "kind: Component\nlabels: [{pairs: {a: b}}]".to_owned()));
    files.push(("app/kustomization.yaml".to_owned(), "components: [../d0]".to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert!(refusal(&files).contains("the number of kustomizations exceeds the limit"));
}

#[test]
fn what_is_not_done_here_is_named() {
    for (file, wanted) in [
        ("helmCharts: [{name: a}]", "must specify --enable-helm"),
        (
            "generators: ['{apiVersion: example.com/v1, kind: Run, metadata: {name: a}}']",
            "external plugins disabled; unable to load external plugin 'Run'",
        ),
        (
            "transformers: ['{apiVersion: builtin, kind: Run, metadata: {name: a}}']",
            "unable to load builtin Run.builtin.[noGrp]",
        ),
        (
            "resources: ['https://github.com/a/b//c?ref=v1']",
            "the remote base https://github.com/a/b//c?ref=v1 cannot be fetched here",
        ),
        ("components: ['github.com/a/b']", "the remote base github.com/a/b cannot be fetched here"),
        ("openapi: {path: 'https://example.com/x.json'}", "the remote file https://example.com/x.json"),
    ] {
        let text = refusal(&[("app/kustomization.yaml", file)]);
        assert!(text.contains(wanted), "{file}: {text}");
    }
}

#[test]
fn wrong_fields_are_named() {
    for (file, wanted) in [
        ("resource: [a.yaml]", "invalid Kustomization: json: unknown field \"resource\""),
        (
            "namePrefix: 3",
            "json: cannot unmarshal number into Go struct field Kustomization.namePrefix of type string",
        ),
        ("patches: [{pach: x}]", "json: unknown field \"pach\""),
        ("kind: Deployment\nnamePrefix: a", "kind should be Kustomization or Component"),
        ("apiVersion: v1\nnamePrefix: a", "apiVersion for Kustomization should be"),
        ("kind: Kustomization", "kustomization.yaml is empty"),
        ("resources: [missing.yaml]", "'/app/missing.yaml' doesn't exist"),
        ("{", "invalid Kustomization: yaml: line 1: did not find expected node content"),
    ] {
        let text = refusal(&[("app/kustomization.yaml", file)]);
        assert!(text.contains(wanted), "{file}: {text}");
    }
    let text = refusal(&[("app/a.txt", "")]);
    assert!(text.contains("unable to find one of 'kustomization.yaml'"), "{text}");
}

/// Real kustomize refuses them too, when it writes what it built as JSON.
#[test]
fn keys_that_are_no_text_are_refused() {
    let built = |key: &str| {
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{{key}: x}}\n");
        let files = [("app/kustomization.yaml", "resources: [map.yaml]"), ("app/map.yaml", map.as_str())];
        build(&tree(&files), "app", &Options::default()).map_err(|error| format!("{error:?}"))
    };
    for key in ["8080", "true", "1.5", "null", "2024-01-02"] {
        let text = built(key).expect_err("must be refused");
        assert!(text.contains(&format!("the key {key} is no text; put it in quotes")), "{key}: {text}");
    }
    for key in ["'8080'", "yes", "on", "a"] {
        assert_eq!(built(key).expect("is built").len(), 1, "{key}");
    }
}
