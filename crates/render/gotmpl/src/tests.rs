//! Templates with what Go 1.26, Sprig 3.3 and Helm's functions make of them.

use crate::{Functions, Limits, Machine, Offline, Templates, Value};

fn data() -> Value {
    let text = r#"{"s":"text","n":5,"big":12345678,"b":true,"l":["x",1,2.5,null,true],"m":{"x":1,"y":{"z":"deep"},
        "nope":null},"nil":null,"ls":["b","a","c","a"],"e":"","em":{}}"#;
    crate::from_json(text).unwrap()
}

fn run(text: &str) -> String {
    let mut templates = Templates::new(Functions::helm());
    if let Err(error) = templates.parse("t", text) {
        return error.to_string();
    }
    let mut machine = Machine::new(&templates, &Offline, Limits::default());
    match machine.execute("t", &data()) {
        Ok(text) => text.to_string(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(run(text), *expected, "{text}");
    }
}

#[test]
fn control_flow() {
    check(&[
        ("{{ if .e }}a{{ else if .n }}b{{ else }}c{{ end }}", "b"),
        ("{{ with .m.y }}{{ .z }}{{ else with .s }}{{ . }}{{ end }}", "deep"),
        ("{{ with .e }}x{{ else with .s }}{{ . }}{{ end }}", "text"),
        ("{{ range $i, $v := .ls }}{{ if eq $i 2 }}{{ break }}{{ end }}{{ $i }}{{ $v }} {{ end }}", "0b 1a "),
        ("{{ range .ls }}{{ if eq . \"a\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "bc"),
        ("{{ range $k, $v := .m }}{{ $k }}={{ $v }};{{ end }}", "nope=<no value>;x=1;y=map[z:deep];"),
        ("{{ range .em }}x{{ else }}empty{{ end }}{{ range 3 }}{{ . }}{{ end }}", "empty012"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ end }}{{ $x }}", "2"),
        (
            "{{ define \"d\" }}<{{ . }}>{{ end }}{{ template \"d\" .s }}{{ block \"k\" 7 }}[{{ . }}]{{ end }}",
            "<text>[7]",
        ),
        ("a {{- /* c */ -}} b {{- 1 -}} \n c", "ab1c"),
        ("{{ include \"u\" . }}{{ define \"u\" }}{{ .n }}{{ end }}{{ tpl \"{{ .s }}\" . }}", "5text"),
    ]);
}

#[test]
fn kinds_and_formatting() {
    check(&[
        (
            "{{ .big }} {{ 1e3 }} {{ 0x10 }} {{ 'a' }} {{ 1.5 }} {{ .l }} {{ .m }}",
            "1.2345678e+07 1000 16 97 1.5 [x 1 2.5 <nil> true] map[nope:<nil> x:1 y:map[z:deep]]",
        ),
        (
            "{{ printf \"%v|%d|%5.2f|%-4s|%q|%x|%t|%T|%+d|%08.3f|%%\" .l 7 2.5 \"ab\" \"q\\\"\" \"hi\" true .n 3 3.14159 }}",
            "[x 1 2.5 <nil> true]|7| 2.50|ab  |\"q\\\"\"|6869|true|float64|+3|0003.142|%",
        ),
        ("{{ printf \"%d %s\" \"x\" }}{{ printf \"%v\" 1 2 }}", "%!d(string=x) %!s(MISSING)1%!(EXTRA int=2)"),
        (
            "{{ kindOf .n }} {{ typeOf .l }} {{ kindOf .m }} {{ typeOf nil }} {{ kindOf nil }} {{ typeOf (list) }}",
            "float64 []interface {} map <nil> invalid []interface {}",
        ),
        (
            "{{ eq .n 5.0 }} {{ lt 1 2 }} {{ ne .s \"x\" }} {{ and 1 0 2 }} {{ or 0 \"\" 3 }} {{ not .e }}",
            "true true true 0 3 true",
        ),
        ("{{ len .s }}{{ index .l 0 }}{{ index .m \"y\" \"z\" }}{{ (index .ls 1) }}", "4xdeepa"),
        (
            "{{ int .big }} {{ add 1 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ addf 0.1 0.2 }} {{ round 2.567 2 }} {{ floor 2.9 }}",
            "12345678 6 3 1 0.3 2.57 2",
        ),
        ("{{ .missing }}{{ .m.nope }}{{ .nil | default \"d\" }}", "<no value><no value>d"),
    ]);
}

#[test]
fn strings_lists_and_maps() {
    check(&[
        (
            "{{ \"a b\" | title | quote }} {{ snakecase \"FirstName\" }} {{ camelcase \"http_server\" }} {{ kebabcase \"HTTPServer\" }}",
            "\"A B\" first_name HttpServer http-server",
        ),
        (
            "{{ trunc 3 \"abcdef\" }} {{ trunc -3 \"abcdef\" }} {{ substr 1 3 \"abcdef\" }} {{ abbrev 5 \"abcdefgh\" }} {{ repeat 3 \"ab\" }}",
            "abc def bc ab... ababab",
        ),
        ("{{ nindent 2 \"a\\nb\" }}", "\n  a\n  b"),
        (
            "{{ splitList \",\" \"a,b\" }} {{ (split \"/\" \"x/y\")._1 }} {{ join \"-\" .ls }} {{ sortAlpha .ls }} {{ uniq .ls }}",
            "[a b] y b-a-c-a [a a b c] [b a c]",
        ),
        (
            "{{ regexReplaceAll \"(\\\\w)(\\\\d)\" \"a1b2\" \"${2}$1\" }} {{ regexFindAll \"[a-c]\" \"abcd\" -1 }} {{ regexMatch \"^t.*t$\" .s }}",
            "1a2b [a b c] true",
        ),
        (
            "{{ dict \"a\" 1 \"b\" (list 1 2) | toJson }} {{ merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3) }} {{ mergeOverwrite (dict \"a\" 1) (dict \"a\" 0) }}",
            "{\"a\":1,\"b\":[1,2]} map[a:1 b:3] map[a:0]",
        ),
        (
            "{{ pick .m \"x\" }} {{ omit .m \"x\" \"y\" }} {{ hasKey .m \"nope\" }} {{ get .m \"none\" }} {{ dig \"y\" \"z\" \"d\" .m }} {{ keys .em }}",
            "map[x:1] map[nope:<nil>] true  deep []",
        ),
        (
            "{{ first .ls }} {{ last .ls }} {{ rest .ls }} {{ initial .ls }} {{ has \"a\" .ls }} {{ without .ls \"a\" }} {{ slice .ls 1 3 }} {{ chunk 3 .ls }}",
            "b a [a c a] [b a c] true [b c] [a c] [[b a c] [a]]",
        ),
        (
            "{{ $d := dict }}{{ $_ := set $d \"k\" 1 }}{{ $e := $d }}{{ $_ := set $e \"l\" 2 }}{{ $d }}",
            "map[k:1 l:2]",
        ),
        (
            "{{ until 3 }} {{ untilStep 5 0 -2 }} {{ seq 1 2 7 }} {{ ternary \"y\" \"n\" .b }} {{ coalesce .e .nil .s }} {{ empty .em }}",
            "[0 1 2] [5 3 1] 1 3 5 7 y text true",
        ),
        (
            "{{ semverCompare \">=1.2.0-0 <2\" \"1.9.3-rc.1\" }} {{ (semver \"v1.2.3-a+b\").Minor }} {{ semverCompare \"~1.2\" \"1.3.0\" }}",
            "true 2 false",
        ),
    ]);
}

#[test]
fn encodings_and_hashes() {
    check(&[
        (
            "{{ b64enc \"hi\" }} {{ b64dec \"aGk=\" }} {{ b64dec \"a\" }} {{ b32enc \"hi\" }} {{ b32dec \"NBUQ====\" }}",
            "aGk= hi illegal base64 data at input byte 0 NBUQ==== hi",
        ),
        (
            "{{ sha1sum \"a\" }} {{ adler32sum \"abc\" }} {{ sha256sum \"\" | trunc 8 }}",
            "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8 38600999 e3b0c442",
        ),
        (
            "{{ toYaml .m }}|{{ toJson .l }}|{{ toRawJson \"<&>\" }}|{{ toJson \"<\" }}|{{ toPrettyJson (dict \"a\" (list 1)) }}",
            "nope: null\nx: 1\n\"y\":\n  z: deep|[\"x\",1,2.5,null,true]|\"<&>\"|\"\\u003c\"|{\n  \"a\": [\n    1\n  ]\n}",
        ),
        (
            "{{ toYamlPretty (dict \"a\" (list 1 \"yes\")) }}|{{ (fromYaml \"a: [1, yes]\").a }}|{{ fromYamlArray \"- 1\" }}|{{ (fromYaml \"- 1\").Error }}",
            "a:\n  - 1\n  - \"yes\"|[1 true]|[1]|error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        ("{{ toYaml (concat (list) (list)) }} {{ toYaml (list) }}", "null []"),
        (
            "{{ toToml (dict \"a\" 1 \"t\" (dict \"b\" \"x\" \"l\" (list 1.0 2.5))) }}",
            "a = 1\n\n[t]\n  b = \"x\"\n  l = [1.0, 2.5]\n",
        ),
        ("{{ derivePassword 1 \"long\" \"password\" \"user\" \"example.com\" }}", "ZedaFaxcZaso9*"),
        (
            "{{ (urlParse \"https://u:p@h.io:80/p?q=1#f\").host }} {{ urlJoin (dict \"scheme\" \"http\" \"host\" \"h\" \"path\" \"/a b\") }}",
            "h.io:80 http://h/a%20b",
        ),
        (
            "{{ dateInZone \"Mon, 02 Jan 2006 15:04:05 -0700\" 86399 \"UTC\" }} {{ (toDate \"2006-01-02\" \"2024-02-29\").Unix }} {{ duration \"3725\" }} {{ durationRound \"50h\" }}",
            "Thu, 01 Jan 1970 23:59:59 +0000 1709164800 1h2m5s 2d",
        ),
    ]);
}

#[test]
fn errors_have_gos_text_and_place() {
    check(&[
        (
            "{{ .s.x }}",
            "template: t:1:5: executing \"t\" at <.s.x>: can't evaluate field x in type interface {}",
        ),
        (
            "{{ .m.nope.deep }}",
            "template: t:1:5: executing \"t\" at <.m.nope.deep>: nil pointer evaluating interface {}.deep",
        ),
        (
            "\n {{ upper .n }}",
            "template: t:2:10: executing \"t\" at <.n>: wrong type for value; expected string; got float64",
        ),
        (
            "{{ .missing | upper }}",
            "template: t:1:14: executing \"t\" at <upper>: invalid value; expected string",
        ),
        (
            "{{ trunc \"x\" .s }}",
            "template: t:1:9: executing \"t\" at <\"x\">: expected integer; found \"x\"",
        ),
        (
            "{{ upper }}",
            "template: t:1:3: executing \"t\" at <upper>: wrong number of args for upper: want 1 got 0",
        ),
        (
            "{{ eq 1 \"a\" }}",
            "template: t:1:3: executing \"t\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison: int and string",
        ),
        (
            "{{ range .s }}{{ end }}",
            "template: t:1:9: executing \"t\" at <.s>: range can't iterate over text",
        ),
        (
            "{{ template \"x\" }}",
            "template: t:1:12: executing \"t\" at <{{template \"x\"}}>: template \"x\" not defined",
        ),
        (
            "{{ div 1 0 }}",
            "template: t:1:3: executing \"t\" at <div 1 0>: error calling div: runtime error: integer divide by zero",
        ),
        (
            "{{ define \"d\" }}{{ .s.x }}{{ end }}{{ include \"d\" . }}",
            "template: t:1:38: executing \"t\" at <include \"d\" .>: error calling include: template: t:1:21: executing \"d\" at <.s.x>: can't evaluate field x in type interface {}",
        ),
        (
            "{{ index .ls 9 }}",
            "template: t:1:3: executing \"t\" at <index .ls 9>: error calling index: index out of range: 9",
        ),
        ("{{ if }}", "template: t:1: missing value for if"),
        ("{{ end }}", "template: t:1: unexpected {{end}}"),
        ("{{ if .s }}\n", "template: t:2: unexpected EOF"),
        ("{{ \"a\nb\" }}", "template: t:1: unterminated quoted string"),
        ("{{ $x }}", "template: t:1: undefined variable \"$x\""),
        ("{{ . | 3 }}", "template: t:1: non executable command in pipeline stage 2"),
        ("{{ break }}", "template: t:1: {{break}} outside {{range}}"),
        ("{{ (.s }}", "template: t:1: unclosed left paren"),
        ("a {{", "template: t:1: unclosed action"),
        ("{{ .a.b) }}", "template: t:1: unexpected right paren"),
        (
            "{{ define \"x\" }}1{{ end }}{{ define \"x\" }}2{{ end }}",
            "template: t:1: template: multiple definition of template \"x\"",
        ),
    ]);
}

#[test]
fn limits_end_what_would_not_end() {
    let mut templates = Templates::new(Functions::helm());
    templates.parse("deep", "{{ template \"deep\" }}").unwrap();
    templates.parse("long", "{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}").unwrap();
    templates.parse("large", "{{ range until 100000 }}{{ repeat 1000 \"x\" }}{{ end }}").unwrap();
    let error = |name: &str, limits: Limits| {
        let mut machine = Machine::new(&templates, &Offline, limits);
        machine.execute(name, &Value::Nil).unwrap_err().to_string()
    };
    let limits = Limits { depth: 20, steps: 10_000, output: 100_000, deadline: None };
    assert!(error("deep", limits).contains("exceeded maximum template depth (20)"));
    assert!(error("long", limits).contains("exceeded maximum number of steps (10000)"));
    assert!(error("large", limits).contains("exceeded maximum output size (100000 bytes)"));
    let late = Limits { deadline: Some(std::time::Instant::now()), ..Limits::default() };
    assert!(error("long", late).contains("exceeded the time for rendering"));
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    let error = Templates::new(Functions::go()).parse("p", &nested).unwrap_err();
    assert_eq!(error.to_string(), "template: p:1: max expression depth exceeded");
}

#[test]
fn what_is_random_needs_a_source_and_is_marked() {
    let mut templates = Templates::new(Functions::helm());
    templates.parse("r", "{{ randAlpha 3 }}").unwrap();
    templates.parse("n", "{{ now.Year }}").unwrap();
    let mut machine = Machine::new(&templates, &Offline, Limits::default());
    assert!(machine.execute("r", &Value::Nil).unwrap_err().to_string().contains("no source of randomness"));
    let mut machine = Machine::new(&templates, &Offline, Limits::default());
    assert!(!machine.is_nondeterministic());
    assert_eq!(machine.execute("n", &Value::Nil).unwrap(), "1970");
    assert!(machine.is_nondeterministic());
}

#[test]
fn slices_share_their_array_and_the_room_behind_it() {
    check(&[
        ("{{ $l := splitList \",\" \"c,b,a,z\" }}{{ $_ := slice $l 0 3 | sortAlpha }}{{ $l }}", "[a b c z]"),
        ("{{ slice (append (list 1 2) 3) 0 4 }}", "[1 2 3 <nil>]"),
        ("{{ $l := append (list 1 2) 3 }}{{ slice (slice $l 1 2) 0 3 }}{{ len $l }}", "[2 3 <nil>]3"),
        (
            "{{ slice (list 1 2 3) 0 4 }}",
            "template: t:1:3: executing \"t\" at <slice (list 1 2 3) 0 4>: error calling slice: reflect.Value.Slice: slice index out of bounds",
        ),
    ]);
}

#[test]
fn what_is_nil_is_told_apart() {
    check(&[
        ("{{ fromJson \"null\" | toJson }} {{ fromJson \"null\" | typeOf }}", "null map[string]interface {}"),
        ("{{ fromYamlArray \"null\" | toJson }}", "[]"),
        (
            "{{ len .nil }}",
            "template: t:1:3: executing \"t\" at <len .nil>: error calling len: len of nil pointer",
        ),
        (
            "{{ set (fromJson \"null\") \"a\" 1 }}",
            "template: t:1:3: executing \"t\" at <set (fromJson \"null\") \"a\" 1>: error calling set: assignment to entry in nil map",
        ),
    ]);
}

#[test]
fn less_usual_formats() {
    check(&[
        (
            "{{ printf \"%#v\" (list 1 nil \"a\") }} {{ printf \"%#v\" (dict \"a\" 1.5) }}",
            "[]interface {}{1, interface {}(nil), \"a\"} map[string]interface {}{\"a\":1.5}",
        ),
        (
            "{{ printf \"%b %#g %#.3x %+q\" 1.0 2.0 1.0 233 }}",
            "4503599627370496p-52 2.00000 0x1.000p+00 '\\u00e9'",
        ),
        ("{{ maxf \"nan\" 1 }} {{ minf 0 -0.0 }} {{ 1_000.5 }} {{ div 7 2 }}", "NaN -0 1000.5 3"),
        ("{{ js (b64dec \"Yf9iPA==\") | b64enc }}", "Yf9iXHUwMDND"),
        (
            "{{ mustToDate \"2006-01-02\" \"2024-13-01\" }}",
            "template: t:1:3: executing \"t\" at <mustToDate \"2006-01-02\" \"2024-13-01\">: error calling mustToDate: parsing time \"2024-13-01\": month out of range",
        ),
        (
            "{{ b64dec \"ef='x\" }} {{ b64dec \"ef=\" }}",
            "illegal base64 data at input byte 2 illegal base64 data at input byte 3",
        ),
        (
            "{{ fromYaml (b64dec \"gA==\") }} {{ fromYamlArray (b64dec \"w2E=\") | first }} {{ fromYaml (b64dec \"7aCA\") }}",
            "map[Error:error converting YAML to JSON: yaml: invalid leading UTF-8 octet] error converting YAML to JSON: yaml: invalid trailing UTF-8 octet map[Error:error converting YAML to JSON: yaml: invalid Unicode character]",
        ),
        ("{{ clean (b64dec \"4S8vYg==\") | b64enc }} {{ base (b64dec \"Yi/h\") | b64enc }}", "4S9i 4Q=="),
        ("{{ printf \"%.2v\" (toDate \"2006\" \"1999\") }}", "19"),
        (
            "{{ fromToml \"[[a 1]]\" }}",
            "map[Error:toml: line 1: expected '.' or ']' to end table name, but got '1' instead]",
        ),
        ("{{ fromToml (b64dec \"6Q==\") }}", "map[Error:toml: line 1: invalid UTF-8 byte: 0xe9]"),
        ("{{ trimAll \"x\" (b64dec \"eP94\") | b64enc }} {{ trim (b64dec \"IP8g\") | b64enc }}", "/w== /w=="),
        ("{{ round 1e2 98 }} {{ round 1.255 2 }} {{ round 1234 -2 }}", "99.99999999999999 1.25 1200"),
        (
            "{{ atoi \"123456789012345678901x\" }} {{ atoi \"12x\" }} {{ atoi \"-9223372036854775809\" }}",
            "9223372036854775807 0 -9223372036854775808",
        ),
        ("{{ eq (regexFindAll \"x\" \"a\" 1) nil }} {{ eq (fromJson \"null\") nil }}", "true true"),
        ("{{ toDate \"2006 002\" \"2024 060\" | date \"2006-01-02 __2\" }}", "2024-02-29  60"),
        ("{{ fromToml \"key value\" }}", "map[Error:toml: line 1: expected '.' or '=', but got 'v' instead]"),
    ]);
}
