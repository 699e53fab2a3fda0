//! Values in the forms people write.

use std::fmt::Write as _;

use helm::{Set, SetKind};

use super::expressions::Writer;
use super::texts;

const SCALARS: &[&str] = &[
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
    "'it''s'",
    "on",
    "!!str 12",
    "0o17",
    "12:30:45",
    "+1",
    "1.",
    "NULL",
    "\"\\u00e9\"",
    "True",
    "FALSE",
    "0x1F",
    "-0",
    "12345678901234567890",
    "123456789012",
    "1.10",
    "null",
    "''",
    "{}",
    "[]",
    "{a: b, c: [1]}",
    "[x, {y: z}]",
    "0.1",
    "100000000000000000000",
    "-.5",
    "!!int \"7\"",
    "!!float 3",
    "0777",
    "08",
    "1:30",
    "2001-12-14 21:59:43.10 -5",
    "=",
    "y",
    "N",
    "1e+06",
    "1000000.0",
    "'0'",
    "\"a\\\n    b\"",
];

fn scalar(writer: &mut Writer, indent: &str) -> String {
    match writer.choices.below(5) {
        0 => writer.choices.pick(texts::NUMBERS).to_owned(),
        1 | 2 => writer.choices.pick(SCALARS).to_owned(),
        3 if writer.choices.one_in(3) => {
            let block = writer.choices.pick(&[
                "|\n~lit\n~two\n",
                ">-\n~fold\n~ed",
                "|+\n~keep\n\n",
                ">\n~one\n~two\n\n~three\n~  more",
                "|2-\n~ x",
                "|-\n~\n~y",
            ]);
            block.trim_end_matches('\n').replace('~', &format!("{indent}  "))
        }
        _ => writer.quoted(texts::TEXTS),
    }
}

/// The chart's own values: the same keys with kinds that templates rely on.
pub(crate) fn defaults(writer: &mut Writer) -> String {
    let mut out = String::from("number: 5\nfloat: 2.5\nflag: true\noff: false\nbig: 12345678901234567890\n");
    let _ = writeln!(out, "text: {}", writer.quoted(texts::TEXTS));
    let _ = writeln!(
        out,
        "template: {}",
        writer.quoted(&["{{ .Release.Name }}", "plain", "{{ .Values.number }}", "a{{/* x */}}b"])
    );
    let _ = writeln!(
        out,
        "nothing: null\nempty: {{}}\nnone: []\nnumbers: [1, 2.5, 3, 0x10]\nnames: [web, api, \"\", db]\nglobal: {{a: b, on: true}}"
    );
    let _ = writeln!(out, "multi: |\n  first\n    second\n\n  third");
    out.push_str("list:\n");
    for _ in 0..=writer.choices.below(4) {
        let _ = writeln!(out, "  - {}", scalar(writer, "  "));
    }
    let deep = scalar(writer, "    ");
    let _ = writeln!(
        out,
        "map:\n  inner:\n    deep: {deep}\n    x: 1\n  list: [a, b, c]\n  host: example.com\n  port: 80"
    );
    let value = scalar(writer, "  ");
    let _ = writeln!(out, "objects:\n- name: one\n  value: {value}\n- name: two");
    out.push_str("types:\n");
    for key in ["a", "b", "c"] {
        let _ = writeln!(out, "  {key}: {}", scalar(writer, "  "));
    }
    out.push_str("odd:\n");
    for key in
        ["\"a.b/c\"", "\"true\"", "\"12\"", "\"\"", "\"key with: colon\"", "é", "A", "a10", "a9", "\"null\""]
    {
        if writer.choices.one_in(3) {
            let _ = writeln!(out, "  {key}: {}", scalar(writer, "  "));
        }
    }
    out.push_str("over:\n  kept: 1\n  map: {a: 1, b: {c: 2, d: [1, 2]}}\n  list: [1, 2, 3]\n  gone: x\n");
    out.push_str(writer.choices.pick(&[
        "",
        "sub: {enabled: false}\n",
        "sub: {enabled: true, b: 7, deep: {n: null}}\n",
        "sub: {c: null, global: {z: 1}}\n",
        "other: {a: 5}\n",
    ]));
    out.push_str(writer.choices.pick(&[
        "",
        "tags: {front: false}\n",
        "tags: {front: true, back: false}\n",
        "taken: {x: own}\n",
    ]));
    out
}

/// The values of the dependency.
pub(crate) fn of_dependency(writer: &mut Writer) -> String {
    let (a, b) = (scalar(writer, ""), scalar(writer, ""));
    format!(
        "a: {a}\nb: {b}\nc: {{d: 1}}\nglobal: {{a: from-sub, g: 2}}\nexports:\n  data: {{x: 1, y: {{z: [1]}}}}\ndeep: {{n: 1, o: {{p: q}}}}\n"
    )
}

/// Values files that change `over` and what belongs to the dependency.
pub(crate) fn files(writer: &mut Writer) -> Vec<String> {
    (0..writer.choices.below(3))
        .map(|_| {
            let mut out = String::from("over:\n");
            for key in ["kept", "map", "list", "gone", "fresh"] {
                if writer.choices.one_in(2) {
                    let _ = writeln!(out, "  {key}: {}", scalar(writer, "  "));
                }
            }
            if out.ends_with("over:\n") {
                out = "over: {}\n".to_owned();
            }
            out.push_str(writer.choices.pick(&[
                "",
                "sub: {a: null, c: {e: 2}}\n",
                "global: {a: c, on: false}\n",
                "sub: null\n",
                "global: {m: {n: 1}}\nsub: {global: {m: {o: 2}}}\n",
            ]));
            out
        })
        .collect()
}

const EXPRESSIONS: &[&str] = &[
    "over.kept=2",
    "over.list[1]=x",
    "over.list[5]=y",
    "over.list={a,b,1}",
    "over.fresh[0].name=z",
    "over.map=null",
    "over.text=a\\,b",
    "over.q=\"x\"",
    "over.n=007",
    "over.t=true,over.f=false",
    "over.nothing=null",
    "over.empty=",
    "over.big=12345678901234567890",
    "over.a\\.b=1",
    "over.float=1.50",
    "over.e=1e3",
    "over.map.b={}",
    "over.x={,}",
    "over.z=a=b",
    "over.s= spaced ",
    "over.l={a b, c}",
    "over.long[2]=x",
    "sub.a=5",
    "global.a=set",
    "over.u=é",
    "over.v=\\\\",
    "over.w={a\\,b,c}",
    "over.x.y.z=1,over.x.y.w=2",
    "over.0=a",
    "over.hex=0x10",
    "over.plus=+5",
    "over.minus=-5",
    "over.gone=null",
    "over.list=null",
    "over.r=~",
];

/// Those that are refused, or need what another one may have taken away.
const WRONG_EXPRESSIONS: &[&str] = &[
    "over.map.b.c=null",
    "over.list[0][1]=2",
    "over.list[-1]=a",
    "over.list[x]=a",
    "over",
    "=1",
    "over.kept.deeper=1",
    "over.map[0]=1",
    "over.list.name=1",
    "over.map.b.d[0]=9,over.map.b.d[3]=8",
    "over.k={1,null,true,}",
    "over.o={{a}}",
    "over.p=[1,2]",
    ",",
    "over.c=1,,over.d=2",
    "over.c=1,",
];

const JSONS: &[&str] = &[
    "over.map={\"a\": [1, null, {\"b\": true}]}",
    "over.list=[1,2.5,\"x\"]",
    "over.text=\"quoted\"",
    "over.n=null",
    "{\"over\": {\"kept\": 7, \"map\": null}}",
    "over.a=1,over.b={\"c\":2}",
    "over.big=12345678901234567890",
    "over.e=",
    "over.g=[\"a,b\"]",
];

/// Those that are refused, or need what another one may have taken away.
const WRONG_JSONS: &[&str] =
    &["over.bad={", "over.list[1]={\"k\":1}", "over.f=1 2", "[1]", "over.map.b.c=\"x\"", "{\"a\":1}x"];

/// Parameters of every kind.
pub(crate) fn sets(writer: &mut Writer) -> Vec<Set> {
    (0..writer.choices.below(4))
        .map(|_| {
            let kind = [SetKind::Value, SetKind::Value, SetKind::String, SetKind::Literal, SetKind::Json]
                [writer.choices.below(5)];
            let (right, wrong) =
                if kind == SetKind::Json { (JSONS, WRONG_JSONS) } else { (EXPRESSIONS, WRONG_EXPRESSIONS) };
            let from = if writer.choices.one_in(8) { wrong } else { right };
            Set { kind, expr: writer.choices.pick(from).to_owned() }
        })
        .collect()
}
