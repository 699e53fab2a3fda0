//! Pieces of templates: actions, control structures, objects and dependencies.

use std::fmt::Write as _;

use super::Generated;
use super::expressions::Writer;

const KINDS: &[&str] = &[
    "ConfigMap",
    "Secret",
    "Service",
    "Deployment",
    "Namespace",
    "Job",
    "Widget",
    "CustomResourceDefinition",
    "Ingress",
    "ClusterRole",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "StatefulSet",
    "CronJob",
    "NetworkPolicy",
    "APIService",
    "Pod",
    "ResourceQuota",
];

impl Writer {
    fn delimiters(&mut self) -> (&'static str, &'static str) {
        let left = if self.choices.one_in(4) { "{{- " } else { "{{ " };
        (left, if self.choices.one_in(4) { " -}}" } else { " }}" })
    }

    /// Runs `write` with variables of its own, as a block has.
    fn block(&mut self, dot: Option<char>, write: impl FnOnce(&mut Self)) {
        let (variables, before) = (self.variables.len(), self.dot);
        if dot.is_some() {
            self.dot = dot;
        }
        write(self);
        self.variables.truncate(variables);
        self.dot = before;
    }

    fn declare(&mut self, kind: char) -> String {
        self.declared += 1;
        let name = format!("$v{}", self.declared);
        self.variables.push((name.clone(), kind));
        name
    }

    pub(crate) fn part(&mut self, out: &mut String, depth: usize, looped: bool) {
        match if depth == 0 { 0 } else { self.choices.below(15) } {
            6 => self.condition(out, depth, looped),
            7 => self.with(out, depth, looped),
            8 | 9 => self.range(out, depth),
            10 | 11 => self.declaration(out),
            12 if looped => out.push_str(self.choices.pick(&[
                "{{ if $.Values.flag }}{{ break }}{{ end }}",
                "{{ continue }}",
                "{{- break -}}",
            ])),
            12 => self.definition(out),
            13 => out.push_str(self.choices.pick(&[
                "text\n",
                "  key: ",
                "- item\n",
                "\n\n",
                "{{/* note */}}",
                "}} ",
                "{{- /* a\nb */ -}}",
                "\t",
            ])),
            14 => self.template(out),
            _ => self.action(out),
        }
    }

    fn action(&mut self, out: &mut String) {
        let (left, right) = self.delimiters();
        let value = self.expression('v', 3);
        let shown = self.choices.pick(&[
            "",
            "",
            " | quote",
            " | toYaml | nindent 2",
            " | toJson",
            " | printf \"%T %v\" 1",
            " | toString",
            " | squote",
        ]);
        if value == "nil" && shown.is_empty() {
            return;
        }
        let value = if value == "nil" { "$.Values.nothing".to_owned() } else { value };
        // The outermost parentheses are left out at times.
        let value = match value.strip_prefix('(').and_then(|value| value.strip_suffix(')')) {
            Some(bare) if !value.contains(").") && self.choices.one_in(2) => bare.to_owned(),
            _ => value,
        };
        let _ = writeln!(out, "{left}{value}{shown}{right}");
    }

    fn condition(&mut self, out: &mut String, depth: usize, looped: bool) {
        let ((left, right), (open, close)) = (self.delimiters(), self.delimiters());
        let condition = self.tested(2);
        let _ = writeln!(out, "{left}if {condition}{right}yes");
        self.block(None, |this| this.part(out, depth - 1, looped));
        if self.choices.one_in(3) {
            let other = self.tested(1);
            let _ = writeln!(out, "{open}else if {other}{close} maybe");
            self.block(None, |this| this.part(out, depth - 1, looped));
        }
        if self.choices.one_in(2) {
            let _ = writeln!(out, "{open}else{close} no");
            self.block(None, |this| this.part(out, depth - 1, looped));
        }
        out.push_str("{{ end }}");
    }

    /// Something that a condition may look at.
    fn tested(&mut self, depth: usize) -> String {
        let kind = ['v', 'b', 'b', 's', 'l', 'm'][self.choices.below(6)];
        let value = self.expression(kind, depth);
        if value == "nil" { "$.Values.nothing".to_owned() } else { value }
    }

    fn with(&mut self, out: &mut String, depth: usize, looped: bool) {
        let ((left, right), (open, close)) = (self.delimiters(), self.delimiters());
        let kind = ['m', 's', 'l', 'v'][self.choices.below(4)];
        let mut subject = self.expression(kind, 1);
        if subject == "nil" {
            subject = "$.Values.nothing".to_owned();
        }
        let named = self.choices.one_in(3);
        self.block(Some(kind), |this| {
            let name = if named { format!("{} := ", this.declare(kind)) } else { String::new() };
            let _ = write!(out, "{left}with {name}{subject}{right}({{{{ . }}}})");
            this.part(out, depth - 1, looped);
        });
        if self.choices.one_in(4) {
            let other = self.tested(1);
            let _ = write!(out, "{open}else with {other}{close}other {{{{ . }}}}");
        }
        let _ = write!(out, "{open}else{close}none{{{{ end }}}}");
    }

    fn range(&mut self, out: &mut String, depth: usize) {
        let (left, right) = self.delimiters();
        let kind = ['l', 'L', 'm', 'n'][self.choices.below(4)];
        let subject = self.expression(kind, 1);
        let item = if kind == 'L' { 's' } else { 'v' };
        self.block(Some(item), |this| {
            let (key, value) = (this.declare(if kind == 'm' { 's' } else { 'k' }), this.declare(item));
            let heads = [
                format!("{left}range {key}, {value} := {subject}{right}<{{{{ {key} }}}}={{{{ {value} }}}}>"),
                format!("{left}range {value} := {subject}{right}"),
                format!("{left}range {subject}{right}{{{{ . }}}};"),
            ];
            // A number and what has no second variable declare less.
            let form = if kind == 'n' { 2 } else { this.choices.below(3) };
            if form > 0 {
                let keep = this.variables.len() - 2;
                this.variables.truncate(keep);
            }
            if form == 1 {
                this.variables.push((value, item));
            }
            out.push_str(&heads[form]);
            this.part(out, depth - 1, true);
        });
        if self.choices.one_in(4) {
            out.push_str("{{ else }}empty");
        }
        out.push_str("{{ end }}");
    }

    fn declaration(&mut self, out: &mut String) {
        let (left, right) = self.delimiters();
        let kind = ['v', 's', 'l', 'm', 'k', 'L', 'b'][self.choices.below(7)];
        if self.choices.one_in(3)
            && let Some((name, kind)) = self.variables.last().cloned()
        {
            let value = self.expression(kind, 2);
            if value != "nil" {
                let _ = writeln!(out, "{left}{name} = {value}{right}={{{{ {name} }}}}");
            }
            return;
        }
        let value = self.expression(kind, 2);
        if value == "nil" {
            return;
        }
        let name = self.declare(kind);
        let _ = writeln!(out, "{left}{name} := {value}{right} {{{{ {name} }}}} {{{{ {name} | toJson }}}}");
        if kind == 'm' && self.choices.one_in(2) {
            let key = self.operand('K');
            let set = self.operand('s');
            let _ = writeln!(
                out,
                "{{{{- $_ := set (deepCopy {name}) {key} {set} }}}}{{{{ {name} | toYaml }}}}{{{{ $_ }}}}"
            );
        }
    }

    /// A template of its own, and its use.
    fn definition(&mut self, out: &mut String) {
        self.declared += 1;
        let name = format!("own{}", self.declared);
        let (variables, dot) = (std::mem::take(&mut self.variables), self.dot.take());
        let body = self.expression('v', 2);
        let body = if body == "nil" { "$.Values.text".to_owned() } else { body };
        self.variables = variables;
        self.dot = dot;
        if self.choices.one_in(2) && self.variables.is_empty() && self.dot.is_none() {
            let _ = write!(out, "{{{{ block \"{name}\" $ }}}}<{{{{ {body} }}}}>{{{{ end }}}}");
        } else {
            let _ = write!(out, "{{{{ include \"later{}\" $ }}}}", self.declared);
            self.later.push(format!(
                "{{{{- define \"later{}\" }}}}{{{{ {body} }}}}{{{{ end -}}}}\n",
                self.declared
            ));
        }
    }

    fn template(&mut self, out: &mut String) {
        let name = self.operand('H');
        let value = self.expression('v', 1);
        let _ = write!(out, "{{{{ template {name} {value} }}}}");
    }

    /// Objects, hooks and dependencies.
    pub(crate) fn objects(&mut self, made: &mut Generated) {
        self.variables.clear();
        for name in ["templates/one.yaml", "templates/two.yaml", "templates/sub/three.yaml"] {
            let mut text = String::new();
            for _ in 0..=self.choices.below(3) {
                self.object(&mut text);
                text.push_str(self.choices.pick(&[
                    "---\n",
                    "---\n# note\n",
                    "\n--- \n",
                    "---\n---\n",
                    "{{ if $.Values.off }}\n{{ end }}---\n",
                ]));
            }
            if self.choices.one_in(2) {
                made.files.push((name, text));
            }
        }
        let mut metadata = "apiVersion: v2\nname: made\nversion: 1.2.3\nappVersion: 4.50\nannotations: {a: b, n: \"1\"}\nkeywords: [k, l]\n\
                            maintainers: [{name: me, email: m@e}]\n".to_owned();
        if self.choices.one_in(2) {
            metadata.push_str("dependencies:\n");
            let alias = self.choices.pick(&["", "", "  alias: other\n"]);
            let condition = self.choices.pick(&[
                "",
                "  condition: sub.enabled\n",
                "  condition: nothing.here,global.on\n",
                "  condition: off\n",
            ]);
            let tags = self.choices.pick(&["", "", "  tags: [front, back]\n"]);
            let import = self.choices.pick(&[
                "",
                "",
                "  import-values: [data]\n",
                "  import-values:\n  - child: exports.data\n    parent: taken\n",
                "  import-values:\n  - child: deep\n    parent: over\n  - none\n",
            ]);
            let version = self.choices.pick(&["0.1.0", "*", "~0.1", ">=0.1.0"]);
            let _ = write!(
                metadata,
                "- name: sub\n  version: \"{version}\"\n  repository: https://example.com\n{alias}{condition}{tags}{import}"
            );
            self.dependency(made);
        }
        made.files.push(("Chart.yaml", metadata));
    }

    fn dependency(&mut self, made: &mut Generated) {
        made.files.push(("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n".to_owned()));
        made.files.push(("charts/sub/values.yaml", super::values::of_dependency(self)));
        let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Chart.Name }}-{{ .Release.Name }}\ndata:\n  values: {{ .Values | toJson | quote }}\n\
                        \x20 global: {{ .Values.global | toYaml | quote }}\n  template: {{ .Template | toJson | quote }}\n".to_owned();
        if self.choices.one_in(2) {
            text.push_str("  helper: {{ include \"json\" .Values.a | quote }}\n  root: {{ .Chart.IsRoot }}\n  files: {{ .Files.Get \"x.txt\" | quote }}\n");
        }
        made.files.push(("charts/sub/templates/map.yaml", text));
        if self.choices.one_in(3) {
            made.files.push((
                "charts/sub/templates/_json.tpl",
                "{{- define \"json\" }}sub:{{ toJson . }}{{ end -}}\n".to_owned(),
            ));
        }
    }

    fn object(&mut self, out: &mut String) {
        let kind = self.choices.pick(KINDS);
        let _ = write!(out, "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: n{}\n", self.choices.below(5));
        if self.choices.one_in(3) {
            let hook = self.choices.pick(&[
                "pre-install",
                "post-install",
                "pre-install,post-upgrade",
                "test",
                "pre-delete, post-delete",
                "crd-install",
                "test-success",
                "unknown",
                "post-renderer,pre-install",
            ]);
            let _ = write!(out, "  annotations:\n    \"helm.sh/hook\": {hook}\n");
            if self.choices.one_in(2) {
                let weight =
                    self.choices.pick(&["\"5\"", "\"-1\"", "\"x\"", "\"\"", "\"+3\"", "\"1.5\"", "\"010\""]);
                let _ = writeln!(out, "    \"helm.sh/hook-weight\": {weight}");
            }
            if self.choices.one_in(2) {
                let policy =
                    self.choices.pick(&["hook-succeeded", "before-hook-creation,hook-failed", "other"]);
                let _ = writeln!(out, "    helm.sh/hook-delete-policy: {policy}");
            }
        }
        out.push_str("data:\n");
        for key in ["a", "b", "c"].iter().take(1 + self.choices.below(3)) {
            let value = self.expression('v', 2);
            let value = if value == "nil" { "$.Values.text".to_owned() } else { value };
            let _ = match self.choices.below(5) {
                0 => writeln!(out, "  {key}: {{{{ {value} | toString | quote }}}}"),
                1 => writeln!(out, "  {key}: {{{{ {value} | toJson }}}}"),
                2 => writeln!(out, "  {key}:\n    {{{{- {value} | toYaml | nindent 4 }}}}"),
                3 => writeln!(out, "  {key}: |\n    {{{{- {value} | toYaml | nindent 4 }}}}"),
                _ => writeln!(
                    out,
                    "  {{{{- with {value} }}}}\n  {key}: {{{{ toJson . | squote }}}}\n  {{{{- end }}}}"
                ),
            };
        }
    }
}
