//! Where an object's values come from: the settings, or, for a template, the chart's user.

use serde_json::Value;

use crate::settings::{Kind, SETTINGS};

/// Begins and ends what stands for a value in a template. No value of ours contains it.
const MARK: &str = "__";
/// Begins the name in a mark that decides about the line it stands in.
const CONDITION: char = '?';

/// Whether a setting is neither false nor empty, as Helm's `if` has it.
pub(crate) fn is_set(values: &Value, setting: &str) -> bool {
    match &values[setting] {
        Value::Null => false,
        Value::Bool(set) => *set,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
    }
}

/// What answers for the values of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    Values {
        values: &'a Value,
        namespace: &'a str,
    },
    /// Each value is a mark that [`fill`] replaces.
    Chart,
}

impl Source<'_> {
    /// The value of a setting.
    pub(crate) fn of(&self, setting: &str) -> Value {
        match self {
            Source::Values { values, .. } => values[setting].clone(),
            Source::Chart => mark(setting).into(),
        }
    }

    /// A text made of a setting, as in `--flag=VALUE`; lists are joined by commas.
    pub(crate) fn text(&self, before: &str, setting: &str) -> String {
        match self {
            Source::Chart => format!("{before}{}", mark(setting)),
            Source::Values { values, .. } => match &values[setting] {
                Value::String(text) => format!("{before}{text}"),
                Value::Array(names) => {
                    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                    format!("{before}{}", names.join(","))
                }
                other => format!("{before}{other}"),
            },
        }
    }

    /// An entry of a list that is there only if a setting is neither false nor empty.
    pub(crate) fn entry_if(&self, setting: &str, entry: String) -> Option<String> {
        match self {
            Source::Chart => Some(format!("{}{entry}", mark(&format!("{CONDITION}{setting}")))),
            Source::Values { values, .. } => is_set(values, setting).then_some(entry),
        }
    }

    /// The namespace of the installation.
    pub(crate) fn namespace(&self) -> String {
        match self {
            Source::Values { namespace, .. } => (*namespace).to_owned(),
            Source::Chart => mark("Release.Namespace"),
        }
    }

    /// The name of the installation.
    pub(crate) fn name(&self) -> String {
        match self {
            Source::Values { .. } => crate::NAME.to_owned(),
            Source::Chart => mark("Release.Name"),
        }
    }
}

/// What stands for the namespace of a template that is repeated for each.
pub(crate) fn each() -> String {
    mark("each")
}

fn mark(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

/// Replaces the marks in the text of an object by a template's expressions.
pub(crate) fn fill(text: &str) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        filled.push_str(&fill_line(line));
        filled.push('\n');
    }
    filled
}

fn fill_line(line: &str) -> String {
    let Some(first) = line.find(MARK) else { return line.to_owned() };
    // A value stands behind `key: ` or `- `; what comes before the mark in it is text.
    let start = line[..first].rfind(' ').map_or(0, |space| space + 1);
    let (head, scalar) = line.split_at(start);
    let pieces: Vec<&str> = scalar.split(MARK).collect();
    if let ["", condition, entry] = pieces[..]
        && let Some(setting) = condition.strip_prefix(CONDITION)
    {
        let spaces = &head[..head.len() - head.trim_start().len()];
        return format!("{spaces}{{{{- if $.Values.{setting} }}}}\n{head}{entry}\n{spaces}{{{{- end }}}}");
    }
    if let ["", name, ""] = pieces[..] {
        return whole(head, name);
    }
    let format: String =
        pieces.iter().enumerate().map(|(at, text)| if at % 2 == 0 { text } else { "%s" }).collect();
    let arguments: Vec<String> = pieces.iter().skip(1).step_by(2).map(|name| argument(name)).collect();
    format!("{head}{{{{ printf {format:?} {} | quote }}}}", arguments.join(" "))
}

/// A line whose value is one setting alone.
fn whole(head: &str, name: &str) -> String {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    match setting.map(|setting| setting.kind) {
        Some(Kind::Scalar) => format!("{head}{{{{ .Values.{name} }}}}"),
        Some(Kind::Structure | Kind::Names) => {
            // What is empty is left out, as in the manifests.
            let indent = head.len() - head.trim_start().len();
            let (spaces, key) = (&head[..indent], head.trim());
            let inner = indent + 2;
            format!(
                "{spaces}{{{{- with .Values.{name} }}}}\n{spaces}{key}\n{spaces}  {{{{- toYaml . | nindent {inner} }}}}\n{spaces}{{{{- end }}}}"
            )
        }
        Some(Kind::Text) if name == "image" => {
            let missing = "image: name the image, as in registry.example.org/mainstay:0.1.0";
            format!("{head}{{{{ required {missing:?} .Values.image | quote }}}}")
        }
        _ => format!("{head}{{{{ {} | quote }}}}", expression(name)),
    }
}

fn expression(name: &str) -> String {
    match name {
        "each" => "$namespace".to_owned(),
        "Release.Name" | "Release.Namespace" => format!("$.{name}"),
        setting => format!("$.Values.{setting}"),
    }
}

/// As `printf` takes it for `%s`.
fn argument(name: &str) -> String {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    match setting.map(|setting| setting.kind) {
        Some(Kind::Names) => format!("(join \",\" {})", expression(name)),
        Some(Kind::Scalar) => format!("(toString {})", expression(name)),
        _ => expression(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_expressions() {
        let text = "image: __image__\nreplicas: __replicas__\nname: __Release.Name__-deploy\nargs:\n- --namespaces=__namespaces__\n\
                    - __?webhooks__--webhooks=1\n- plain\nspec:\n  tolerations: __tolerations__\n";
        let filled = "image: {{ required \"image: name the image, as in registry.example.org/mainstay:0.1.0\" .Values.image | quote }}\n\
                      replicas: {{ .Values.replicas }}\nname: {{ printf \"%s-deploy\" $.Release.Name | quote }}\nargs:\n\
                      - {{ printf \"--namespaces=%s\" (join \",\" $.Values.namespaces) | quote }}\n\
                      {{- if $.Values.webhooks }}\n- --webhooks=1\n{{- end }}\n- plain\nspec:\n  \
                      {{- with .Values.tolerations }}\n  tolerations:\n    {{- toYaml . | nindent 4 }}\n  {{- end }}\n";
        assert_eq!(fill(text), filled);
    }
}
