//! Charts made from a seed: templates that use the language and the functions, and values to use them on.

use std::fmt::Write as _;

use crate::choices::Choices;

/// Functions with the kinds of their arguments and of their result: `s` text, `i` number, `a` anything, `l` list,
/// `m` map, `b` truth, `n` a small
/// number (of what is made so many times), `f` a map of its own (one that holds itself ends Helm). What is random, reads the clock or has no order is left out.
const FUNCTIONS: &[&str] = &[
    "upper s s",
    "lower s s",
    "title s s",
    "untitle s s",
    "trim s s",
    "trimAll ss s",
    "trimSuffix ss s",
    "trimPrefix ss s",
    "trunc is s",
    "abbrev is s",
    "substr iis s",
    "nospace s s",
    "initials s s",
    "wrap ns s",
    "wrapWith nss s",
    "contains ss b",
    "hasPrefix ss b",
    "hasSuffix ss b",
    "quote a s",
    "squote a s",
    "cat aa s",
    "indent ns s",
    "nindent ns s",
    "replace sss s",
    "plural ssn s",
    "snakecase s s",
    "camelcase s s",
    "kebabcase s s",
    "swapcase s s",
    "repeat ns s",
    "toString a s",
    "toStrings l l",
    "join sl s",
    "splitList ss l",
    "split ss m",
    "splitn sis m",
    "sortAlpha l l",
    "atoi s i",
    "int a i",
    "int64 a i",
    "float64 a i",
    "add aa i",
    "add1 a i",
    "sub aa i",
    "div aa i",
    "mod aa i",
    "mul aa i",
    "max aa i",
    "min aa i",
    "addf aa i",
    "subf aa i",
    "mulf aa i",
    "divf aa i",
    "floor a i",
    "ceil a i",
    "round ai i",
    "until n l",
    "untilStep nnn l",
    "seq n s",
    "len a i",
    "list aaa l",
    "first l a",
    "rest l l",
    "last l a",
    "initial l l",
    "append la l",
    "prepend la l",
    "concat ll l",
    "reverse l l",
    "uniq l l",
    "without la l",
    "has al b",
    "compact l l",
    "slice lii l",
    "index li a",
    "dict sasa m",
    "get ms a",
    "hasKey ms b",
    "pluck sm l",
    "merge ff m",
    "mergeOverwrite ff m",
    "deepCopy a a",
    "pick ms m",
    "omit ms m",
    "default aa a",
    "empty a b",
    "coalesce aa a",
    "ternary aab a",
    "toJson a s",
    "toPrettyJson a s",
    "toRawJson a s",
    "fromJson s m",
    "toYaml a s",
    "toYamlPretty a s",
    "fromYaml s m",
    "fromYamlArray s l",
    "b64enc s s",
    "b64dec s s",
    "b32enc s s",
    "sha1sum s s",
    "sha256sum s s",
    "sha512sum s s",
    "adler32sum s s",
    "regexMatch ss b",
    "regexFind ss s",
    "regexFindAll ssi l",
    "regexReplaceAll sss s",
    "regexReplaceAllLiteral sss s",
    "regexSplit ssi l",
    "regexQuoteMeta s s",
    "eq aa b",
    "ne aa b",
    "lt aa b",
    "le aa b",
    "gt aa b",
    "ge aa b",
    "and aa a",
    "or aa a",
    "not a b",
    "print aa s",
    "printf sa s",
    "println a s",
    "html a s",
    "js a s",
    "urlquery a s",
    "kindOf a s",
    "typeOf a s",
    "kindIs sa b",
    "typeIs sa b",
    "base s s",
    "dir s s",
    "clean s s",
    "ext s s",
    "isAbs s b",
    "osBase s s",
    "urlParse s m",
    "semverCompare ss b",
    "semver s a",
    "any aa b",
    "all aa b",
    "dig ssam a",
    "chunk nl l",
    "tuple aa l",
    "ternary aab a",
    "mustToJson a s",
    "toDecimal s i",
    "duration a s",
    "toToml m s",
    "required sa a",
    "fail s s",
    "tpl sa s",
    "include sa s",
    "substr iis s",
    "mustRegexFind ss s",
    "mustFirst l a",
    "mustHas al b",
    "trimall ss s",
    "sortAlpha l l",
    "durationRound a s",
];

const TEXTS: &[&str] = &[
    "",
    "a",
    "Hello World",
    "a-b_c",
    "x,y,z",
    "  spaced  ",
    "1.2.3",
    "^1.2.0",
    ">=1.0.0-0",
    "true",
    "0755",
    "1e3",
    "null",
    "key: value",
    "- a\\n- b",
    "{\\\"a\\\": 1}",
    "é ß",
    "a.b.c",
    "/usr/lib/x.tar.gz",
    "http://u:p@h:80/p?q=1#f",
    "[a-z]+",
    "(a)(b)?",
    "${1}x",
    "%d",
    "%s-%v",
    "%5.2f",
    "%q",
    "{{ .Values.text }}",
    "inner",
    "camelCaseText",
    "snake_case_text",
    "\\ttab",
    "yes",
    "2024-01-02",
    "1h30m",
    "long text that goes on and on for more than eighty characters so that it has to be folded somewhere",
    "colon: in # text",
    "@at",
    "*star",
    "line1\\nline2\\n",
    "trailing\\n\\n",
    "<a href='x'>&</a>",
    "123456789012345678901234567890",
];

const NUMBERS: &[&str] =
    &["0", "1", "2", "3", "7", "-1", "10", "100", "1.5", "-2.25", "1e2", "0x1f", "3.0", "250"];

const PATHS: &[&str] = &[
    ".Values.text",
    ".Values.number",
    ".Values.float",
    ".Values.flag",
    ".Values.off",
    ".Values.list",
    ".Values.map",
    ".Values.map.inner",
    ".Values.map.inner.deep",
    ".Values.nothing",
    ".Values.missing",
    ".Values.empty",
    ".Values.numbers",
    ".Values.objects",
    ".Values.multi",
    ".Release.Name",
    ".Chart.Version",
    ".Values.map.list",
    ".Values.big",
    "$.Values.text",
    ".Values.global",
    ".Values.missing.deep",
    ".Capabilities.KubeVersion.Version",
    ".Chart.Name",
    ".Values",
];

pub(crate) struct Generated {
    pub(crate) template: String,
    pub(crate) values: String,
}

pub(crate) fn chart(seed: u64) -> Generated {
    let mut writer = Writer { choices: Choices::new(seed), variables: 0 };
    let mut template = "{{- define \"inner\" }}[{{ . }}]{{ end -}}\n".to_owned();
    let parts = 1 + writer.choices.below(4);
    for _ in 0..parts {
        writer.part(&mut template, 3);
    }
    let values = writer.values();
    Generated { template, values }
}

struct Writer {
    choices: Choices,
    variables: usize,
}

impl Writer {
    fn delimiters(&mut self) -> (&'static str, &'static str) {
        let left = if self.choices.one_in(4) { "{{- " } else { "{{ " };
        (left, if self.choices.one_in(4) { " -}}" } else { " }}" })
    }

    fn part(&mut self, out: &mut String, depth: usize) {
        let (left, right) = self.delimiters();
        let (open, close) = self.delimiters();
        match if depth == 0 { 0 } else { self.choices.below(9) } {
            4 => {
                let condition = self.expression("a", 2);
                let _ = writeln!(out, "{left}if {condition}{right}yes");
                self.part(out, depth - 1);
                if self.choices.one_in(2) {
                    let _ = writeln!(out, "{open}else{close} no");
                    self.part(out, depth - 1);
                }
                out.push_str("{{ end }}");
            }
            5 => {
                let subject = self.expression("a", 1);
                let _ = write!(out, "{left}with {subject}{right}({{{{ . }}}})");
                self.part(out, depth - 1);
                let _ = write!(out, "{open}else{close}none{{{{ end }}}}");
            }
            6 => {
                let kind = self.choices.pick(&["l", "m"]);
                let subject = self.expression(kind, 1);
                let _ = write!(out, "{left}range $k, $v := {subject}{right}<{{{{ $k }}}}={{{{ $v }}}}>");
                if self.choices.one_in(4) {
                    out.push_str("{{ if eq (print $k) \"1\" }}{{ break }}{{ end }}");
                }
                self.part(out, depth - 1);
                out.push_str("{{ end }}");
            }
            7 => {
                self.variables += 1;
                let (name, value) = (format!("$v{}", self.variables), self.expression("a", 2));
                let _ = writeln!(
                    out,
                    "{left}{name} := {value}{right} {{{{ {name} }}}} {{{{ {name} | toJson }}}}"
                );
            }
            8 => out.push_str(self.choices.pick(&[
                "text\n",
                "  key: ",
                "- item\n",
                "\n\n",
                "{{/* note */}}",
                "}} ",
            ])),
            _ => {
                let value = self.expression("a", 3);
                let shown = self.choices.pick(&[
                    "",
                    " | quote",
                    " | toYaml | nindent 2",
                    " | toJson",
                    " | printf \"%T %v\" 1",
                ]);
                let _ = writeln!(out, "{left}{value}{shown}{right}");
            }
        }
    }

    /// An expression of a kind, mostly.
    fn expression(&mut self, kind: &str, depth: usize) -> String {
        let kind =
            if self.choices.one_in(15) { self.choices.pick(&["s", "i", "a", "l", "m", "b"]) } else { kind };
        if depth == 0 || self.choices.one_in(3) {
            return self.operand(kind);
        }
        for _ in 0..50 {
            let function = self.choices.pick(FUNCTIONS);
            let mut words = function.split(' ');
            let (Some(name), Some(kinds), Some(result)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if kind != "a" && result != kind {
                continue;
            }
            let mut arguments: Vec<String> =
                kinds.chars().map(|kind| self.expression(kind.encode_utf8(&mut [0; 4]), depth - 1)).collect();
            if self.choices.one_in(40) {
                arguments.pop();
            }
            if self.choices.one_in(3)
                && let Some(last) = arguments.pop()
            {
                return format!("({last} | {name} {})", arguments.join(" ")).replace(" )", ")");
            }
            return format!("({name} {})", arguments.join(" ")).replace(" )", ")");
        }
        self.operand(kind)
    }

    fn operand(&mut self, kind: &str) -> String {
        let text = |choices: &mut Choices| format!("\"{}\"", choices.pick(TEXTS));
        match kind {
            "s" if self.choices.one_in(3) => ".Values.text".to_owned(),
            "s" => text(&mut self.choices),
            "f" => self
                .choices
                .pick(&["(deepCopy .Values.map)", "(deepCopy .Values.map.inner)", "(dict \"a\" 1)", "dict"])
                .to_owned(),
            "n" => self.choices.pick(&["0", "1", "2", "3", "5", "10", "-1"]).to_owned(),
            "i" if self.choices.one_in(4) => ".Values.number".to_owned(),
            "i" => self.choices.pick(NUMBERS).to_owned(),
            "l" => self
                .choices
                .pick(&[
                    ".Values.list",
                    ".Values.numbers",
                    ".Values.objects",
                    ".Values.map.list",
                    "(list 1 \"a\" nil)",
                ])
                .to_owned(),
            "m" => self
                .choices
                .pick(&[".Values.map", ".Values.map.inner", ".Values.global", "(dict \"a\" 1 \"b\" \"x\")"])
                .to_owned(),
            "b" => self.choices.pick(&["true", "false", ".Values.flag", ".Values.off"]).to_owned(),
            _ => match self.choices.below(4) {
                0 => text(&mut self.choices),
                1 => self.choices.pick(NUMBERS).to_owned(),
                _ => self.choices.pick(PATHS).to_owned(),
            },
        }
    }

    /// Values as YAML in one of the forms people write.
    fn values(&mut self) -> String {
        let mut out = String::new();
        let scalar = |choices: &mut Choices| -> String {
            match choices.below(4) {
                0 => choices.pick(NUMBERS).to_owned(),
                1 => choices
                    .pick(&[
                        "yes",
                        "no",
                        "~",
                        "plain text",
                        "0755",
                        "1_000",
                        "0b11",
                        "2001-01-01",
                        "1e3",
                        ".5",
                        "a: b",
                        "'it''s'",
                        "on",
                        "!!str 12",
                        "&x 1",
                        "0o17",
                        "12:30:45",
                        "+1",
                        "1.",
                        "NULL",
                        "\"\\u00e9\"",
                        "|\n    lit\n    two\n",
                        ">-\n    fold\n    ed",
                    ])
                    .to_owned(),
                _ => format!("\"{}\"", choices.pick(TEXTS)),
            }
        };
        for (key, fixed) in [
            ("number", "5"),
            ("float", "2.5"),
            ("flag", "true"),
            ("off", "false"),
            ("big", "12345678901234567890"),
        ] {
            let _ = writeln!(out, "{key}: {fixed}");
        }
        let _ = writeln!(out, "text: \"{}\"", self.choices.pick(TEXTS));
        let _ = writeln!(out, "nothing: null\nempty: {{}}\nnumbers: [1, 2.5, 3, 0x10]\nglobal: {{a: b}}");
        let _ = writeln!(out, "list:");
        for _ in 0..=self.choices.below(4) {
            let _ = writeln!(out, "  - {}", scalar(&mut self.choices));
        }
        let _ = writeln!(
            out,
            "map:\n  inner:\n    deep: {}\n  list: [a, b, c]",
            scalar(&mut self.choices).replace('\n', "\n    ")
        );
        let _ = writeln!(out, "objects:\n- name: one\n  value: {}\n- name: two", scalar(&mut self.choices));
        out
    }
}
