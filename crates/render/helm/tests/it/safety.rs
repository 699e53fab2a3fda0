//! Hostile charts: what has gone wrong in Helm and Argo CD before must not go wrong here.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gotmpl::{Functions, Limits, Machine, Offline, Templates, Value};
use helm::{Chart, File, Options, Set, SetKind};
use tree::{Entry, EntryKind, Tree, TreePath};

const METADATA: &str = "apiVersion: v2\nname: top\nversion: 1.0.0\n";

fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), data: text.to_owned().into() }
}

fn load(files: &[(&str, &str)]) -> Result<Chart, String> {
    let files = files.iter().map(|(name, text)| file(name, text));
    Chart::from_files(std::iter::once(file("Chart.yaml", METADATA)).chain(files).collect())
        .map_err(|error| error.to_string())
}

fn render(files: &[(&str, &str)]) -> Result<String, String> {
    let rendered = helm::render(&load(files)?, &Options::default()).map_err(|error| error.to_string())?;
    Ok(rendered.manifests.iter().map(|one| one.text.as_str()).collect())
}

/// The work ends within the time that it is given, with an error that says what was wrong.
fn refused_soon(what: impl FnOnce() -> Result<String, String>, part: &str) {
    let begun = Instant::now();
    let error = what().expect_err("it is refused");
    assert!(error.contains(part), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60), "took {:?}", begun.elapsed());
}

/// CVE-2022-24348: a chart reads files outside of itself.
#[test]
fn files_outside_the_chart_cannot_be_named() {
    let template = r#"a: {{ cat (.Files.Get "../../etc/passwd") (.Files.Get "/etc/passwd") | trim | quote }}
b: {{ len (.Files.Glob "../**") }}{{ len (.Files.Glob "/etc/*") }}
"#;
    assert_eq!(render(&[("templates/a.yaml", template)]).unwrap(), "a: \"\"\nb: 00\n");
}

/// A repository with a link that leaves it, as trees report one.
#[derive(Debug)]
struct Linked(tree::MemoryTree);

impl Tree for Linked {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, tree::Error> {
        if path.to_string().ends_with("values.yaml") {
            return Err(tree::Error::Escapes { path: path.clone() });
        }
        self.0.read(path)
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, tree::Error> {
        let mut entries = self.0.list(path)?;
        if let Some(entries) = &mut entries {
            entries.push(Entry { name: "values.yaml".to_owned(), kind: EntryKind::File });
        }
        Ok(entries)
    }
}

/// CVE-2022-31036: a link in the repository leads to a file outside.
#[test]
fn links_out_of_the_repository_are_refused() {
    let files = [(TreePath::parse("Chart.yaml").unwrap(), METADATA.into())].into_iter().collect();
    let error = helm::load(&Linked(files), "").unwrap_err();
    let cause = std::error::Error::source(&error).expect("the tree said why").to_string();
    assert!(cause.contains("values.yaml: symbolic link leaves the repository"), "{cause}");
}

/// CVE-2022-36055: a parameter makes a list of a billion entries.
#[test]
fn parameters_cannot_take_all_memory() {
    let chart = load(&[]).unwrap();
    for expr in ["a[99999999999]=1".to_owned(), format!("{}=1", vec!["a"; 100_000].join("."))] {
        let set = vec![Set { kind: SetKind::Value, expr }];
        let render = || {
            helm::render(&chart, &Options { set, ..Options::default() })
                .map(|_| String::new())
                .map_err(|error| error.to_string())
        };
        refused_soon(render, "failed parsing --set data");
    }
}

/// CVE-2024-25620: the name of a chart is a path that leads elsewhere.
#[test]
fn names_of_charts_are_no_paths() {
    for name in ["../../outside", "/etc/cron.d/x", "a/b", ".."] {
        let metadata = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
        let error = Chart::from_files(vec![file("Chart.yaml", &metadata)]).unwrap_err().to_string();
        assert!(error.contains("name"), "{name}: {error}");
    }
}

/// An archive with entries of these types, names, link targets and sizes; the content is zeros.
fn archive(entries: &[(tar::EntryType, &str, &str, u64)]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(packed);
    let mut header = tar::Header::new_gnu();
    header.set_size(METADATA.len() as u64);
    builder.append_data(&mut header, "top/Chart.yaml", METADATA.as_bytes()).unwrap();
    for (kind, name, target, size) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(*size);
        if target.is_empty() {
            builder.append_data(&mut header, name, std::io::Read::take(std::io::repeat(0), *size)).unwrap();
        } else {
            builder.append_link(&mut header, name, target).unwrap();
        }
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn unpacked(archive: &[u8]) -> Result<String, String> {
    helm::load_archive(archive).map(|_| String::new()).map_err(|error| error.to_string())
}

/// CVE-2025-32386: a small archive that becomes gigabytes.
#[test]
fn archives_that_expand_without_end_are_refused() {
    let large = archive(&[(tar::EntryType::Regular, "top/large", "", 6 << 20)]);
    refused_soon(|| unpacked(&large), "larger than the maximum file size");
    let names: Vec<String> = (0..30).map(|number| format!("top/part{number}")).collect();
    let parts: Vec<_> =
        names.iter().map(|name| (tar::EntryType::Regular, name.as_str(), "", 4 << 20)).collect();
    let many = archive(&parts);
    assert!(many.len() < 1 << 20, "a bomb is small");
    refused_soon(|| unpacked(&many), "larger than the maximum size");
}

/// CVE-2025-53547: `Chart.lock` is a link to a file that an update of the dependencies overwrites.
#[test]
fn links_in_archives_are_refused() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        let linked = archive(&[(kind, "top/Chart.lock", "/etc/passwd", 0)]);
        refused_soon(|| unpacked(&linked), "is not a regular file");
    }
}

/// CVE-2025-55199: a schema that refers to what never ends.
#[test]
fn schemas_read_nothing_outside_and_end() {
    for reference in ["file:///dev/zero", "https://example.com/schema.json", "/dev/zero"] {
        let schema = format!(r#"{{"properties": {{"a": {{"$ref": "{reference}"}}}}}}"#);
        refused_soon(|| render(&[("values.schema.json", &schema), ("values.yaml", "a: 1\n")]), "schema");
    }
    let schema = r##"{"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}"##;
    refused_soon(|| render(&[("values.schema.json", schema), ("values.yaml", "a: 1\n")]), "do not end");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    refused_soon(|| render(&[("values.yaml", &text)]), "excessive aliasing");
    refused_soon(
        || helm::read_values(&text).map(|_| String::new()).map_err(|error| error.to_string()),
        "excessive aliasing",
    );
    // In a template it is no error, but a value that says what was wrong.
    let template =
        format!("error: {{{{ (fromYaml {}).Error | quote }}}}\n", serde_json::to_string(&text).unwrap());
    assert!(render(&[("templates/a.yaml", &template)]).unwrap().contains("excessive aliasing"));
}

/// Work on a thread with as much stack as a worker of an asynchronous runtime has.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn deep_nesting_takes_no_stack() {
    on_a_small_stack(|| {
        for text in ["[".repeat(100_000), "{a: ".repeat(50_000), "- ".repeat(50_000)] {
            refused_soon(
                || helm::read_values(&text).map(|_| String::new()).map_err(|error| error.to_string()),
                "depth",
            );
        }
        let deepest = format!("a: {}{}", "[".repeat(190), "]".repeat(190));
        assert!(helm::read_values(&deepest).is_ok());
        let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
        refused_soon(|| render(&[("templates/a.yaml", &parentheses)]), "depth");
        let json = format!("a: {{{{ fromJsonArray {:?} }}}}", "[".repeat(100_000));
        assert!(render(&[("templates/a.yaml", &json)]).is_ok());
    });
}

#[test]
fn templates_that_call_themselves_are_refused() {
    on_a_small_stack(|| {
        for (template, part) in [
            (r#"{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}"#, "nested reference name"),
            (
                r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#,
                "exceeded maximum template depth",
            ),
            (r#"{{ tpl .Values.text . }}"#, "exceeded maximum template depth"),
        ] {
            let files =
                [("templates/a.yaml", template), ("values.yaml", "text: '{{ tpl .Values.text . }}'\n")];
            refused_soon(|| render(&files), part);
        }
    });
}

#[test]
fn values_that_hold_themselves_are_refused() {
    on_a_small_stack(|| {
        for cycle in [
            r#"{{ $a := dict }}{{ $_ := set $a "self" $a }}"#,
            r#"{{ $a := dict }}{{ $b := dict "a" $a }}{{ $_ := set $a "b" $b }}"#,
            r#"{{ $a := dict }}{{ $b := list $a }}{{ $_ := set $a "b" $b }}"#,
        ] {
            for shown in ["mustToJson $a", "mustToYaml $a"] {
                let template = format!("{cycle}a: {{{{ {shown} }}}}\n");
                refused_soon(|| render(&[("templates/a.yaml", &template)]), "");
            }
            // What cannot fail ends, whatever it prints.
            for shown in
                ["print $a | quote", "deepCopy $a | len", "deepEqual $a (deepCopy $a)", "toYaml $a | quote"]
            {
                let _ = render(&[("templates/a.yaml", &format!("{cycle}a: {{{{ {shown} }}}}\n"))]);
            }
        }
    });
}

fn execute(text: &str, limits: Limits) -> Result<String, String> {
    let mut templates = Templates::new(Functions::helm());
    templates.parse("t", text).map_err(|error| error.to_string())?;
    let result = Machine::new(&templates, &Offline, limits).execute("t", &Value::Nil);
    result.map(|text| text.to_string()).map_err(|error| error.to_string())
}

#[test]
fn executions_end_at_their_limits() {
    let endless = "{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}";
    let limits = Limits { steps: 100_000, ..Limits::default() };
    refused_soon(|| execute(endless, limits), "exceeded maximum number of steps");
    let limits = Limits { output: 1000, ..Limits::default() };
    refused_soon(|| execute(endless, limits), "exceeded maximum output size");
    let limits = Limits { deadline: Some(Instant::now()), ..Limits::default() };
    refused_soon(|| execute(endless, limits), "exceeded the time");
    refused_soon(|| execute("{{ repeat 1000000000 \"xxxxxxxxxx\" }}", Limits::default()), "repeat");
    refused_soon(|| execute("{{ until 1000000000000 }}", Limits::default()), "out of memory");
}
