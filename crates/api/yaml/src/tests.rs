use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn scalars_have_the_types_go_gives_them() {
    let text = "a: yes\nb: y\nc: off\nd: 0755\ne: 0o17\nf: 1_000\ng: 0x1F\nh: 08\ni: 1.0\nj: 1e3\nk: ~\nl: 2001-01-01\nm: 1:30\nn: .5\no: +12\np: 18446744073709551615\nq: -0b11\nr: ''\ns: \"yes\"\n<<x: 1\n";
    // The key `n` is a boolean as well.
    let expected = json!({"a": true, "b": true, "c": false, "d": 493, "e": 15, "f": 1000, "g": 31, "h": 8, "i": 1,
        "j": 1000, "k": null, "l": "2001-01-01", "m": "1:30", "false": 0.5, "o": 12,
        "p": 18446744073709551615u64, "q": -3, "r": "", "s": "yes", "<<x": 1});
    let mut expected = expected.as_object().unwrap().clone();
    expected.remove("b");
    expected.insert("b".to_owned(), json!(true));
    assert_eq!(from_str(text).unwrap(), Value::Object(expected));
}

#[test]
fn scalars_fold_and_chomp() {
    let text = "a: one\n  two\n\n  three\nb: |\n  x\n   y\n\nc: >-\n  p\n  q\n\n  r\nd: |+\n  z\n\ne: 'it''s\n  folded'\nf: \"a\\\n  b\\tc\\u00e9\"\n";
    let expected = json!({"a": "one two\nthree", "b": "x\n y\n", "c": "p q\nr", "d": "z\n\n", "e": "it's folded",
        "f": "ab\tcé"});
    assert_eq!(from_str(text).unwrap(), expected);
}

#[test]
fn anchors_and_merge_keys() {
    let text = "base: &b {x: 1, w: 2}\nother: &o {z: 3}\none: {<<: *b, x: 9}\ntwo: {<<: [*b, *o], z: 4}\nlate: {x: 9, <<: *b}\n";
    let value = from_str(text).unwrap();
    assert_eq!(value["one"], json!({"x": 9, "w": 2}));
    assert_eq!(value["two"], json!({"x": 1, "w": 2, "z": 4}));
    // go-yaml v2 applies a merge where it stands.
    assert_eq!(value["late"], json!({"x": 1, "w": 2}));
}

#[test]
fn empty_documents_are_left_out() {
    assert_eq!(
        documents("---\n---\n# only a comment\n---\na: 1\n...\n---\nnull\n").unwrap(),
        [json!({"a": 1})]
    );
    assert_eq!(from_str("").unwrap(), Value::Null);
    assert_eq!(from_str("a: 1\n---\nb: [").unwrap(), json!({"a": 1}));
}

#[test]
fn duplicate_keys_are_refused_when_asked() {
    assert_eq!(from_str("a: 1\na: 2\n").unwrap(), json!({"a": 2}));
    let error = from_str_strict("a: 1\na: 2\n").unwrap_err();
    assert_eq!(error.to_string(), "yaml: unmarshal errors:\n  line 2: key \"a\" already set in map");
}

#[test]
fn errors_are_worded_and_counted_as_in_go() {
    for (text, message, line) in [
        ("a: b: c", "yaml: mapping values are not allowed in this context", 1),
        ("a:\n  b: c: d", "yaml: line 2: mapping values are not allowed in this context", 2),
        ("a: 1\n b: 2", "yaml: line 2: mapping values are not allowed in this context", 2),
        ("a: 1\nb\nc: 2", "yaml: line 3: could not find expected ':'", 3),
        ("x: 1\na: [1, 2", "yaml: line 2: did not find expected ',' or ']'", 3),
        ("a: *nobody", "yaml: unknown anchor 'nobody' referenced", 1),
        ("a: \"\\q\"", "yaml: found unknown escape character", 1),
        ("a:\n\tb: 1", "yaml: line 2: found character that cannot start any token", 2),
        ("a: %x", "yaml: found character that cannot start any token", 1),
        ("a: &x [*x]", "yaml: anchor 'x' value contains itself", 1),
        ("a: \u{1}", "yaml: control characters are not allowed", 1),
        ("a: .inf", "json: unsupported value: +Inf", 1),
    ] {
        let error = from_str(text).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.line()), (message, line), "{text:?}");
    }
}

#[test]
fn documents_that_grow_without_end_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", previous.trim_end_matches(", ")));
    }
    assert_eq!(from_str(&text).unwrap_err().to_string(), "yaml: document contains excessive aliasing");
    assert!(nodes(&text).is_err());
    let deep = format!("{}x", "[".repeat(100_000));
    assert!(from_str(&deep).unwrap_err().to_string().contains("exceeded max depth"));
    let deep: String = (0..2000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(from_str(&deep).unwrap_err().to_string().contains("exceeded max depth"));
}

#[test]
fn strings_are_quoted_where_go_quotes_them() {
    for (value, text) in [
        ("plain text", "plain text"),
        ("yes", "\"yes\""),
        ("0755", "\"0755\""),
        ("1e3", "\"1e3\""),
        ("1:30", "\"1:30\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("", "\"\""),
        ("~", "\"~\""),
        ("a: b", "'a: b'"),
        ("it's: x", "'it''s: x'"),
        ("# no", "'# no'"),
        (" lead", "' lead'"),
        ("tab\there", "\"tab\\there\""),
        ("emoji 🙂", "\"emoji \\U0001F642\""),
        ("{{ x }}", "'{{ x }}'"),
        ("*", "'*'"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\nb\n", "|\n  a\n  b"),
        ("a\n\n", "|+\n  a\n"),
        (" a\nb", "|2-\n   a\n  b"),
        ("a \nb", "\"a \\nb\""),
    ] {
        let written = to_string(&json!({ "k": value }));
        assert_eq!(written.trim_end_matches('\n'), format!("k: {text}").trim_end_matches('\n'), "{value:?}");
    }
}

#[test]
fn collections_are_laid_out_as_in_go() {
    let value = json!({"b": [1, [2, 3], {"x": [], "y": {}}], "a10": 1.5, "a2": null, "a": {"k": [true]}});
    let text = "a:\n  k:\n  - true\na2: null\na10: 1.5\nb:\n- 1\n- - 2\n  - 3\n- x: []\n  \"y\": {}\n";
    assert_eq!(to_string(&value), text);
    let long = format!("{} {}", "word".repeat(20), "more words follow here");
    assert_eq!(
        to_string(&json!({ "k": long })),
        format!("k: {}\n  more words follow here\n", "word".repeat(20))
    );
    let key = "k".repeat(130);
    assert_eq!(to_string(&json!({ key.clone(): 1 })), format!("? {key}\n: 1\n"));
}

#[test]
fn numbers_print_as_go_prints_them() {
    use crate::number::{float_f, float_g, float_json};
    for (value, general, plain, json) in [
        (0.0, "0", "0", "0"),
        (-1.5, "-1.5", "-1.5", "-1.5"),
        (100_000.0, "100000", "100000", "100000"),
        (1_000_000.0, "1e+06", "1000000", "1000000"),
        (1e21, "1e+21", "1000000000000000000000", "1e+21"),
        (0.0001, "0.0001", "0.0001", "0.0001"),
        (0.000_01, "1e-05", "0.00001", "0.00001"),
        (1e-7, "1e-07", "0.0000001", "1e-7"),
        (1.0 / 3.0, "0.3333333333333333", "0.3333333333333333", "0.3333333333333333"),
    ] {
        assert_eq!(
            (float_g(value), float_f(value), float_json(value)),
            (general.into(), plain.into(), json.into())
        );
    }
    assert_eq!(to_string(&json!(1e6)), "1000000\n");
    assert_eq!(to_string(&json!(1e20)), "1e+20\n");
}

#[test]
fn nodes_keep_the_text_of_scalars() {
    let found = nodes("a: 0755\nb: &x 'yes'\nc: *x\n").unwrap();
    let Node::Mapping(entries) = &found[0] else { panic!("{found:?}") };
    let scalar = |text: &str, plain| Node::Scalar { text: text.to_owned().into(), tag: None, plain };
    assert_eq!(entries[0].1, scalar("0755", true));
    assert_eq!(entries[1].1, scalar("yes", false));
    assert_eq!(entries[2].1, scalar("yes", false));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~éß\\n]{0,40}".prop_map(Value::from),
        "(yes|no|0[0-9]{3}|[0-9]{1,3}:[0-9]{2}|[0-9.e+-]{1,8}|[#&*!|>'\"%@`?:,{}\\[\\]-]{1,4} ?[a-z]{0,3})"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            // go-yaml writes the merge key as it is, and then reads it as one.
            prop::collection::btree_map(
                "[ -~\\n]{0,12}".prop_filter("no merge key", |key| key != "<<"),
                inner,
                0..5
            )
            .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in values()) {
        let text = to_string(&value);
        prop_assert_eq!(from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?, value);
    }

    #[test]
    fn reading_never_panics(text in "[ -~\\n\\t]{0,200}") {
        let _ = documents(&text);
        let _ = nodes(&text);
    }
}

/// What the quick reader reads, it reads as the parser does; gives whether it read the text at all.
fn check_quick(text: &str) -> bool {
    for duplicates in [Duplicates::LastWins, Duplicates::Refuse] {
        let Ok(found) = quick::read(text, &mut Json, duplicates) else { return false };
        assert_eq!(read_any(text, &mut Json, duplicates), Ok(found), "{text}");
    }
    true
}

#[test]
fn the_quick_reader_reads_what_the_parser_reads() {
    let plain = [
        "",
        "# only this\n",
        "a: 1\nb: yes\nc: text\n",
        "---\na:\n  b: x # note\n\n  # more\n  c:\nd:\n- 1\n- e: 2\n  f: 'it''s'\n-\n- - x\n  - y\n",
        "a: |\n  one\n   two\n\n  three\n\nb: >-\n  one\n  two\n\n  three\n   four\n  five\nc: |+\n  x\n\n",
        "a: one\n  two\n\n  three\nb: [x, 1, {c: \"d\"}]\ne: {}\nf: []\ng: \"x\\n\\\"y\\\"\"\n",
        "- a\n- b:\n  - c\n  d: http://x:80/#y\n- |-\n  z\n",
        "a:\n    b: 1\n    c:\n        d: 0755\n",
        "a:\n  {}\nb:\n- c:\n    [x]\n  d:\n    one\n    two\ne:\n  \"x\"",
        "a: 'x  \n\n\n   y'\nb:\n- \"one\n    \\\"two\\\"\n  three \"\n",
        "a: |-\n\n  \n  one\n\n  two",
        "a: |\n    \n    one",
        "a: >+\n  one\n  two",
        "a: \u{a0}\u{e9}\u{2192}\u{ff5e} # \u{201c}\n",
    ];
    for text in plain {
        assert!(check_quick(text), "not read: {text}");
    }
    let others = [
        "a: &x 1\n",
        "a: *x\n",
        "<<: {a: b}\n",
        "a: b: c\n",
        "a\n",
        "a:\n b: 1\n  c: 2\n",
        "a: 1\n b\n: c\n",
        "a: 'x\ny'\n",
        "a: 'x\n  y\n",
        "a: 'x\n  y': z\n",
        "a:\n  {}\n  b: c\n",
        "a:\n  |\n  b\n",
        "a: |\n      \n  b\n",
        "a: |\n      \n",
        "a: |",
        "a: |\n  b\n  ",
        "a: \u{85}b\u{feff}\n",
        "a: b\u{2028}c\n",
        "1: a\n",
        "a: .inf\n",
        "%YAML 1.1\n---\na: b\n",
        "a: b\n---\nc: d\n",
        "a:\tb\n",
        "- a\nb: c\n",
    ];
    for text in others {
        check_quick(text);
    }
}

proptest::proptest! {
    #[test]
    fn the_quick_reader_agrees_on_anything(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "a", "b:", "c: ", " ", "  ", "- ", "-", "\n", "\n  ", "\n    ", "\n- ", "|", ">", "|-", ">+", "#", " #x", "'", "\"",
            "x y", "1", "0x1f", "null", "~", "yes", "[", "]", "{", "}", ", ", ": ", "key: value", "\nk: v", "\n  k: v", "\\n",
            "\n\n", "---", "\u{e9}", "2001-01-01", "1e3", ".", "?", "!", "%", "@", "a:\n    ", "a: '", "a: \"", "\n      x", "a: |-\n", " y'", "\u{a0}", "\u{85}",
        ]), 0..24)
    ) {
        check_quick(&parts.concat());
    }
}
