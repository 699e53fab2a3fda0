//! Charts written down here: dependencies, values, limits, hostile input.

use helm::{Chart, Options, Rendered, Set, SetKind};
use serde_json::{Value, json};
use tree::{MemoryTree, TreePath};

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    files.iter().map(|(path, text)| (TreePath::parse(path).unwrap(), text.to_string().into())).collect()
}

/// A chart named `top` with these files besides its `Chart.yaml`.
fn chart(extra: &str, files: &[(&str, &str)]) -> Chart {
    let metadata = format!("apiVersion: v2\nname: top\nversion: 1.0.0\n{extra}");
    let mut all = vec![("Chart.yaml", metadata.as_str())];
    all.extend_from_slice(files);
    helm::load(&tree(&all), "").unwrap()
}

fn options(values: Value) -> Options {
    Options { release_name: "demo".to_owned(), values: vec![values], ..Options::default() }
}

fn render(chart: &Chart, values: Value) -> Rendered {
    helm::render(chart, &options(values)).unwrap()
}

/// The text of a template `t.yaml` of a chart whose output is one document.
fn output(template: &str, values: Value) -> String {
    let rendered = render(&chart("", &[("templates/t.yaml", template)]), values);
    rendered.manifests.iter().map(|manifest| manifest.text.clone()).collect()
}

fn refusal(template: &str, values: Value) -> String {
    let chart = chart("", &[("templates/t.yaml", template)]);
    helm::render(&chart, &options(values)).unwrap_err().to_string()
}

const CHILD: &str = "apiVersion: v2\nname: child\nversion: 1.2.3\n";
const SHOW: &str = "name: {{ .Chart.Name }}\nvalues: {{ .Values | toJson }}\n";

#[test]
fn dependencies_follow_conditions_tags_and_aliases() {
    let extra = "dependencies:\n- {name: child, version: 1.x, condition: 'nothing,first.enabled', tags: [db]}\n- {name: child, version: ~1.2, alias: second, condition: second.enabled}\n";
    let chart = chart(
        extra,
        &[
            ("values.yaml", "child: {a: 1}\nsecond: {enabled: false}\n"),
            ("charts/child/Chart.yaml", CHILD),
            ("charts/child/values.yaml", "own: true\n"),
            ("charts/child/templates/show.yaml", SHOW),
        ],
    );
    let sources = |values| -> Vec<String> {
        render(&chart, values).manifests.into_iter().map(|manifest| manifest.source).collect()
    };
    assert_eq!(sources(json!({})), ["top/charts/child/templates/show.yaml"]);
    assert_eq!(sources(json!({"tags": {"db": false}})), Vec::<String>::new());
    assert_eq!(
        sources(json!({"tags": {"db": false}, "first": {"enabled": true}, "second": {"enabled": true}})),
        ["top/charts/child/templates/show.yaml", "top/charts/second/templates/show.yaml"]
    );
    let rendered = render(&chart, json!({"global": {"x": 1}, "child": {"own": null}}));
    assert_eq!(rendered.manifests[0].text, "name: child\nvalues: {\"a\":1,\"global\":{\"x\":1}}\n");
}

#[test]
fn values_are_imported_from_dependencies() {
    let extra = "dependencies:\n- name: child\n  version: 1.2.3\n  import-values: [data, {child: deep.inner, parent: here}]\n";
    let chart = chart(
        extra,
        &[
            ("templates/show.yaml", SHOW),
            ("charts/child/Chart.yaml", CHILD),
            ("charts/child/values.yaml", "exports: {data: {port: 80}}\ndeep: {inner: {k: v}}\n"),
        ],
    );
    let text = &render(&chart, json!({})).manifests[0].text;
    let values = yaml::from_str(text).unwrap()["values"].clone();
    assert_eq!((&values["port"], &values["here"]), (&json!(80), &json!({"k": "v"})));
}

#[test]
fn parameters_win_by_kind_and_nulls_delete() {
    let chart = chart("", &[("values.yaml", "a: {x: 1, w: 2}\nb: 1\n"), ("templates/show.yaml", SHOW)]);
    let set = |kind, expr: &str| Set { kind, expr: expr.to_owned() };
    let mut options = options(json!({"a": {"x": null}, "b": 5}));
    options.set = vec![
        set(SetKind::String, "b=007"),
        set(SetKind::Value, "b=8,c=9,a.z=1"),
        set(SetKind::Json, r#"{"d":{"e":[1]}}"#),
    ];
    let text = &helm::render(&chart, &options).unwrap().manifests[0].text;
    assert_eq!(
        text,
        "name: top\nvalues: {\"a\":{\"w\":2,\"z\":1},\"b\":\"007\",\"c\":9,\"d\":{\"e\":[1]}}\n"
    );
    options.set = vec![set(SetKind::Value, "a")];
    assert_eq!(
        helm::render(&chart, &options).unwrap_err().to_string(),
        "failed parsing --set data: key \"a\" has no value"
    );
}

#[test]
fn documents_hooks_crds_and_notes_come_apart() {
    let template = "kind: Service\nmetadata: {name: s}\n---\n# only a comment\n---\nkind: Namespace\nmetadata: {name: n}\n---\nkind: Job\nmetadata:\n  name: j\n  annotations: {helm.sh/hook: 'pre-install, post-upgrade', helm.sh/hook-weight: '-5', helm.sh/hook-delete-policy: hook-succeeded}\n---\nkind: Pod\nmetadata: {name: p, annotations: {helm.sh/hook: test}}\n---\nkind: Pod\nmetadata: {name: q, annotations: {helm.sh/hook: unknown}}\n";
    let chart = chart(
        "",
        &[
            ("templates/all.yaml", template),
            ("templates/NOTES.txt", "Hello {{ .Release.Name }}"),
            ("crds/one.yaml", "kind: CustomResourceDefinition\n"),
            ("crds/README.md", "no manifest"),
        ],
    );
    let mut options = options(json!({}));
    options.include_crds = true;
    let rendered = helm::render(&chart, &options).unwrap();
    let kinds = |list: &[helm::Manifest]| list.iter().map(|one| one.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&rendered.manifests), ["Namespace", "Service", ""]);
    assert_eq!(kinds(&rendered.hooks), ["Pod", "Job"]);
    let hook = rendered.hooks[1].hook.clone().unwrap();
    assert_eq!((hook.events.join(","), hook.weight), ("pre-install,post-upgrade".to_owned(), -5));
    assert_eq!(hook.delete_policies, ["hook-succeeded"]);
    assert_eq!(rendered.notes.as_deref(), Some("Hello demo"));
    assert_eq!(rendered.crds.len(), 1);
    assert_eq!(rendered.crds[0].source, "top/crds/one.yaml");
    options.skip_tests = true;
    assert_eq!(kinds(&helm::render(&chart, &options).unwrap().hooks), ["Job"]);
}

#[test]
fn files_are_found_read_and_encoded() {
    let chart = chart(
        "",
        &[
            (
                "templates/f.yaml",
                "# {{ range $path, $data := .Files.Glob \"conf/*\" }}{{ $path }}={{ $data | toString | trim | replace \"\\n\" \"_\" }};{{ end }}\n{{ (.Files.Glob \"conf/*\").AsConfig }}\n{{ (.Files.Glob \"conf/a*\").AsSecrets }}\nlines: {{ .Files.Lines \"conf/b\" | toJson }}\nmissing: {{ .Files.Get \"none\" | quote }}\n",
            ),
            (".helmignore", "*.bak\n"),
            ("conf/a", "x"),
            ("conf/b", "p\nq\n"),
            ("conf/c.bak", "ignored"),
        ],
    );
    assert_eq!(
        render(&chart, json!({})).manifests[0].text,
        "# conf/a=x;conf/b=p_q;\na: x\nb: |\n  p\n  q\na: eA==\nlines: [\"p\",\"q\"]\nmissing: \"\"\n"
    );
}

#[test]
fn errors_are_told_in_helms_words() {
    let cases = [
        (
            "{{ .Values.a.b.c }}",
            "top/templates/t.yaml:1:10\n  executing \"top/templates/t.yaml\" at <.Values.a.b.c>:\n    nil pointer evaluating interface {}.b",
        ),
        ("\n  {{ fail \"no way\" }}", "execution error at (top/templates/t.yaml:2:5): no way"),
        ("{{ required \"need x\" .Values.x }}", "execution error at (top/templates/t.yaml:1:3): need x"),
        ("{{ if }}", "parse error at (top/templates/t.yaml:1): missing value for if"),
        ("{{ nope 1 }}", "parse error at (top/templates/t.yaml:1): function \"nope\" not defined"),
        (
            "{{ include \"none\" . }}",
            "top/templates/t.yaml:1:3\n  executing \"top/templates/t.yaml\" at <include \"none\" .>:\n    error calling include:\ntemplate: no template \"none\" associated with template \"gotpl\"",
        ),
        (
            "a: b: c",
            "YAML parse error on top/templates/t.yaml: error converting YAML to JSON: yaml: mapping values are not allowed in this context",
        ),
        ("{{ env \"HOME\" }}", "parse error at (top/templates/t.yaml:1): function \"env\" not defined"),
        (
            "{{ trunc 3 .Values.n }}",
            "top/templates/t.yaml:1:18\n  executing \"top/templates/t.yaml\" at <.Values.n>:\n    wrong type for value; expected string; got float64",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(refusal(template, json!({"n": 1})), expected, "{template}");
    }
}

#[test]
fn numbers_of_values_are_floats_and_parameters_integers() {
    let template = "a: {{ .Values.big }} {{ kindOf .Values.big }}\nb: {{ toYaml .Values.big }}\nc: {{ int .Values.big }}\n";
    assert_eq!(
        output(template, json!({"big": 1234567})),
        "a: 1.234567e+06 float64\nb: 1234567\nc: 1234567\n"
    );
    let chart = chart("", &[("templates/t.yaml", "a: {{ .Values.n }} {{ kindOf .Values.n }}\n")]);
    let mut options = options(json!({}));
    options.set = vec![Set { kind: SetKind::Value, expr: "n=1234567".to_owned() }];
    assert_eq!(helm::render(&chart, &options).unwrap().manifests[0].text, "a: 1234567 int64\n");
}

#[test]
fn capabilities_show_the_cluster() {
    let template = "kind: {{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.APIVersions.Has \"apps/v1\" }} {{ .Capabilities.APIVersions.Has \"example.com/v1/Thing\" }} {{ semverCompare \">=1.30-0\" .Capabilities.KubeVersion.Version }}";
    let chart = chart("kubeVersion: '>=1.25'\n", &[("templates/t.yaml", template)]);
    let mut options = options(json!({}));
    options.kube_version = "1.33.4-gke.1".to_owned();
    options.api_versions = vec!["example.com/v1/Thing".to_owned()];
    let text = &helm::render(&chart, &options).unwrap().manifests[0].text;
    assert_eq!(text, "kind: v1.33.4 33 v1.33.4-gke.1 true true true");
    options.kube_version = "v1.20.0".to_owned();
    assert_eq!(
        helm::render(&chart, &options).unwrap_err().to_string(),
        "chart requires kubeVersion: >=1.25 which is incompatible with Kubernetes v1.20.0"
    );
}

#[test]
fn schemas_are_checked_down_to_dependencies() {
    let schema = r##"{"type":"object","required":["host"],"properties":{"port":{"type":"integer","maximum":65535},
        "mode":{"enum":["a","b"]},"list":{"items":{"$ref":"#/definitions/item"}}},
        "definitions":{"item":{"type":"string","pattern":"^x"}},"$schema":"http://json-schema.org/draft-07/schema#"}"##;
    let chart = chart(
        "",
        &[
            ("values.schema.json", schema),
            ("charts/child/Chart.yaml", CHILD),
            (
                "charts/child/values.schema.json",
                r#"{"additionalProperties": false, "properties": {"global": {}}}"#,
            ),
        ],
    );
    let error = |values| helm::render(&chart, &options(values)).err().map(|error| error.to_string());
    let head = "values don't meet the specifications of the schema(s) in the following chart(s):\n";
    assert_eq!(error(json!({"host": "h", "port": 80, "mode": "a", "list": ["x1"]})), None);
    assert_eq!(error(json!({})).unwrap(), format!("{head}top:\n- at '': missing property 'host'\n"));
    assert_eq!(
        error(json!({"host": 1, "port": 70000, "mode": "c", "list": ["y"], "child": {"odd": 1}})).unwrap(),
        format!(
            "{head}top:\n- at '/list/0': 'y' does not match pattern '^x'\n- at '/mode': value must be one of 'a', 'b'\n- at '/port': maximum: got 70000, want 65535\nchild:\n- at '': additional properties 'odd' not allowed\n"
        )
    );
}

#[test]
fn recursion_without_end_is_refused() {
    let helpers = "{{ define \"loop\" }}{{ include \"loop\" . }}{{ end }}";
    let error = refusal(&format!("{helpers}{{{{ include \"loop\" . }}}}"), json!({}));
    assert!(error.contains("rendering template has a nested reference name: loop"), "{}", &error[..300]);
    let error = refusal("{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}", json!({}));
    assert!(error.contains("exceeded maximum template depth"), "{error}");
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (path, data) in entries {
        let mut header = tar::Header::new_gnu();
        // The builder itself refuses the paths that are to be tried.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn hostile_archives_are_refused() {
    let metadata: &[u8] = b"apiVersion: v2\nname: top\nversion: 1.0.0\n";
    let good = archive(&[("top/Chart.yaml", metadata), ("top/templates/a.yaml", b"kind: A\n")]);
    assert_eq!(render(&helm::load_archive(&good).unwrap(), json!({})).manifests.len(), 1);
    let error = |entries: &[(&str, &[u8])]| helm::load_archive(&archive(entries)).unwrap_err().to_string();
    assert_eq!(error(&[("top/../../x", b"")]), "chart illegally references parent directory");
    assert_eq!(error(&[("top//etc/passwd", b"")]), "chart illegally contains absolute paths");
    assert_eq!(
        error(&[("Chart.yaml", metadata)]),
        "chart illegally contains content outside the base directory: \"Chart.yaml\""
    );
    assert_eq!(error(&[("top/C:/x", b"")]), "chart contains illegally named files");
    assert_eq!(error(&[("top/x", b"")]), "Chart.yaml file is missing");
    let large = vec![0; 5 * 1024 * 1024 + 1];
    assert_eq!(
        error(&[("top/big", &large)]),
        "decompressed chart file \"top/big\" is larger than the maximum file size 5242880"
    );
    let megabytes = vec![0; 5 * 1024 * 1024];
    let names: Vec<String> = (0..21).map(|index| format!("top/{index}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), megabytes.as_slice())).collect();
    assert_eq!(error(&many), "decompressed chart is larger than the maximum size 104857600");
    assert!(helm::load_archive(b"no archive").is_err());
}

#[test]
fn hostile_metadata_is_refused() {
    let error = |text: &str| helm::load(&tree(&[("Chart.yaml", text)]), "").unwrap_err().to_string();
    let named = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    assert_eq!(error(&named("../up")), "validation: chart.metadata.name \"../up\" is invalid");
    assert_eq!(error(&named("..")), "validation: chart.metadata.name \"..\" is not allowed");
    assert_eq!(
        error("apiVersion: v2\nname: x\nversion: one\n"),
        "validation: chart.metadata.version \"one\" is invalid"
    );
    assert_eq!(
        error("apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies:\n- {name: a, alias: ../b}\n"),
        "validation: dependency \"a\" has disallowed characters in the alias"
    );
    assert_eq!(
        error("apiVersion: v2\nname: [x]\nversion: 1.0.0\n"),
        "cannot load Chart.yaml: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go struct field Metadata.name of type string"
    );
}

#[test]
fn random_values_come_from_the_seed_and_are_marked() {
    let chart = chart(
        "",
        &[(
            "templates/t.yaml",
            "a: {{ randAlphaNum 12 }}\n{{ $ca := genCA \"ca\" 10 }}{{ $c := genSignedCert \"x\" (list \"10.0.0.1\") (list \"x.y\") 5 $ca }}cert: {{ $c.Cert | b64enc }}\nh: {{ htpasswd \"u\" \"p\" }}\n",
        )],
    );
    let mut options = options(json!({}));
    let error = helm::render(&chart, &options).unwrap_err().to_string();
    assert!(error.contains("no source of randomness was given for this rendering"), "{error}");
    options.seed = Some([1; 32]);
    let first = helm::render(&chart, &options).unwrap();
    assert!(first.nondeterministic);
    assert_eq!(first, helm::render(&chart, &options).unwrap());
    options.seed = Some([2; 32]);
    assert_ne!(first, helm::render(&chart, &options).unwrap());
}
