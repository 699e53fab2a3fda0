//! Charts made from a seed: templates that use the language and the functions, and values to use them on.

#[path = "generate/expressions.rs"]
mod expressions;
#[path = "generate/functions.rs"]
mod functions;
#[path = "generate/parts.rs"]
mod parts;
#[path = "generate/texts.rs"]
mod texts;
#[path = "generate/values.rs"]
mod values;

use helm::{Set, SetKind};

use expressions::Writer;

/// A chart, and what it is rendered with.
pub(crate) struct Generated {
    /// Names and contents.
    pub(crate) files: Vec<(&'static str, String)>,
    /// The texts of values files.
    pub(crate) values: Vec<String>,
    pub(crate) sets: Vec<Set>,
}

const HELPERS: &str = r#"
{{- define "inner" }}[{{ . }}]{{ end -}}
{{- define "json" }}{{ toJson . }}{{ end -}}
{{- define "kind" }}{{ kindOf . }} {{ typeOf . }}{{ end -}}
{{- define "named" }}{{ $x := . }}{{ with $x }}{{ . }}{{ else }}nothing{{ end }}{{ end -}}
{{- define "twice" }}{{ include "inner" . }}{{ template "inner" . }}{{ end -}}
{{- define "nested" -}}
{{ if kindIs "map" . }}{{ range $k, $v := . }}{{ $k }}={{ include "json" $v }};{{ end }}{{ else }}{{ toString . }}{{ end }}
{{- end -}}
"#;

/// The chart of a seed. Three of four put one text into their notes, which may be any; the others have objects,
/// hooks, dependencies and values from several places.
pub(crate) fn chart(seed: u64) -> Generated {
    let mut writer = Writer::new(seed);
    let mut made = Generated {
        files: vec![
            ("templates/_helpers.tpl", HELPERS.to_owned()),
            ("files/a.txt", "first\nsecond line\n\tthird: x\n".to_owned()),
            ("files/b.yaml", "k: v\nlist:\n- 1\n".to_owned()),
            ("files/c.yaml", String::new()),
        ],
        values: Vec::new(),
        sets: Vec::new(),
    };
    made.files.push(("values.yaml", values::defaults(&mut writer)));
    let mut notes = String::new();
    let parts = 1 + writer.choices.below(4);
    for _ in 0..parts {
        writer.part(&mut notes, 3, false);
    }
    if writer.choices.one_in(4) {
        writer.objects(&mut made);
    } else {
        made.files.push((
            "Chart.yaml",
            "apiVersion: v2\nname: made\nversion: 1.2.3\nappVersion: \"4.5\"\n".to_owned(),
        ));
    }
    // Text around a definition is text of the template: there is none.
    notes.push_str(&std::mem::take(&mut writer.later).concat());
    made.files.push(("templates/NOTES.txt", notes));
    if writer.choices.one_in(3) {
        made.values = values::files(&mut writer);
        made.sets = values::sets(&mut writer);
    }
    made
}

impl Generated {
    /// What there is to know of a case that differs.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (name, content) in &self.files {
            if !name.starts_with("files/") && *name != "templates/_helpers.tpl" {
                text.push_str(&format!("    {name} {content:?}\n"));
            }
        }
        for values in &self.values {
            text.push_str(&format!("    -f {values:?}\n"));
        }
        for set in &self.sets {
            text.push_str(&format!("    --{} {:?}\n", name_of(set.kind), set.expr));
        }
        text
    }
}

/// The flag of a kind of parameter, without its dashes.
pub(crate) fn name_of(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Value => "set",
        SetKind::String => "set-string",
        SetKind::Json => "set-json",
        SetKind::File => "set-file",
        SetKind::Literal => "set-literal",
    }
}
