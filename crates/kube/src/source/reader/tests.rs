//! Text that is right, text that is wrong.

use insta::assert_snapshot;
use serde::Deserialize;
use serde_json::json;

use crate::source::{Document, Source, read, read_one};

fn one(text: &str) -> Document {
    read_one(&Source::new("a.yaml", text)).expect("one document")
}

/// Each error of `text` on a line of its own.
fn errors(text: &str) -> String {
    let (_, errors) = read(&Source::new("a.yaml", text));
    errors.iter().map(|error| format!("{error} ({})", error.fix())).collect::<Vec<_>>().join("\n")
}

#[test]
fn documents_without_content_are_skipped() {
    let text = "# only a comment\n---\n---\na: 1\n---\n# Source: x\n---\nb: 2\n...\n";
    let (documents, errors) = read(&Source::new("a.yaml", text));
    assert!(errors.is_empty());
    let values: Vec<_> = documents.iter().map(Document::value).collect();
    assert_eq!(values, [json!({"a": 1}), json!({"b": 2})]);
    assert_eq!(documents[1].locate("b").line, 8);
}

#[test]
fn places_are_of_scalars_and_of_the_keys_of_collections() {
    let document =
        one("spec:\n  ports:\n    - name: \"ü\"\n      port: 80\n    - port: 81\n  \"a.b/c\": x\n");
    let place = |path: &str| document.locate(path).to_string();
    assert_eq!(place("spec.ports"), "a.yaml:2:3");
    assert_eq!(place("spec.ports[0].port"), "a.yaml:4:13");
    assert_eq!(place("spec.ports[1]"), "a.yaml:5:7");
    assert_eq!(place("spec[\"a.b/c\"]"), "a.yaml:6:12");
    assert_eq!(place("spec.ports[1].nodePort"), "a.yaml:5:7", "the nearest parent");
    assert_eq!(place("status"), "a.yaml:1:1");
}

#[test]
fn json_is_read_with_places() {
    let document = one("{\n\t\"a\": [1, {\"b\": null}],\n\t\"c\": \"\\u00fc\\/\"\n}\n");
    assert_eq!(document.value(), json!({"a": [1, {"b": null}], "c": "ü/"}));
    assert_eq!(document.locate("c").to_string(), "a.yaml:3:7");
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let document =
        one("base: &b {x: 1, y: 2}\none: *b\ntwo:\n  <<: *b\n  y: 3\nthree:\n  <<: [*b, {z: 4}]\n");
    let value = document.value();
    assert_eq!(value["one"], json!({"x": 1, "y": 2}));
    assert_eq!(value["two"], json!({"y": 3, "x": 1}));
    assert_eq!(value["three"], json!({"x": 1, "y": 2, "z": 4}));
    assert_snapshot!(errors("a:\n  <<: 5\n"), @"a.yaml:2:7: expected a mapping or a list of mappings to merge (give << the alias of a mapping)");
}

#[test]
fn aliases_are_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let of = format!("*a{},", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{of}]\n"));
    }
    assert_snapshot!(errors(&text), @"a.yaml:5:38: aliases expand to more than 100000 values (write fewer aliases of aliases)");
}

#[test]
fn an_alias_of_itself_is_an_error() {
    assert_snapshot!(errors("a: &a\n  b: *a\n"), @"a.yaml:2:6: this alias stands inside of what it refers to (write the value out)");
}

#[test]
fn nesting_is_bounded() {
    let flow = format!("{}{}", "[".repeat(120), "]".repeat(120));
    assert_snapshot!(errors(&flow), @"a.yaml:1:101: more than 100 collections inside one another (nest less deeply)");
    let deep = "[".repeat(100_000);
    assert_eq!(read(&Source::new("a.yaml", &deep)).1.len(), 1);
}

#[test]
fn a_key_that_occurs_twice_is_an_error_and_reading_goes_on() {
    let text = "a: 1\nb: {c: 1, c: 2}\na: 3\n---\nd: 1\n";
    assert_snapshot!(errors(text), @r"
    a.yaml:2:11: the key `c` is already set on line 2 (keep one of the two)
    a.yaml:3:1: the key `a` is already set on line 1 (keep one of the two)
    ");
    assert_eq!(read(&Source::new("a.yaml", text)).0.len(), 2);
}

#[test]
fn text_that_is_not_yaml() {
    assert_snapshot!(errors("a: 1\nb: [1, 2\nc: 3\n"), @"a.yaml:3:2: not valid YAML: illegal placement of ':' indicator (look at indentation, quotes and brackets on this line and the one before; a Helm template must be rendered first (helm template))");
    assert_snapshot!(errors("ok: 1\n---\na: \"x\n"), @"a.yaml:3:4: not valid YAML: while scanning a quoted scalar, found unexpected end of stream (look at indentation, quotes and brackets on this line and the one before; a Helm template must be rendered first (helm template))");
    assert_snapshot!(errors("{{ .Values.name }}: 1\n"), @"a.yaml:1:2: expected a key, got a mapping (write keys as plain text; a template expression that was not rendered looks like this too)");
    assert_snapshot!(errors("a: !secret x\nb: !!int x\nc: !!set {x}\n"), @r#"
    a.yaml:1:4: the tag !secret is not known (leave the tag out, or use !!str, !!int, !!float, !!bool, !!null, !!seq or !!map)
    a.yaml:2:4: "x" is not a value of the tag !!int (leave the tag out, or use !!str, !!int, !!float, !!bool, !!null, !!seq or !!map)
    a.yaml:3:4: the tag tag:yaml.org,2002:!set is not known (leave the tag out, or use !!str, !!int, !!float, !!bool, !!null, !!seq or !!map)
    "#);
    assert_snapshot!(errors("a: *nowhere\n"), @"a.yaml:1:4: not valid YAML: while parsing node, found unknown anchor (look at indentation, quotes and brackets on this line and the one before; a Helm template must be rendered first (helm template))");
}

#[test]
fn one_document_is_expected() {
    let error = |text: &str| read_one(&Source::new("a.yaml", text)).expect_err("an error").to_string();
    assert_snapshot!(error("# nothing\n"), @"a.yaml:1:1: expected a document, got an empty text");
    assert_snapshot!(error("a: 1\n---\nb: 1\n"), @"a.yaml:3:1: expected one document, got a second one");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what does not deserialize matters here")]
struct Race {
    laps: u8,
    name: String,
    fast: Option<bool>,
    runners: Vec<Runner>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what does not deserialize matters here")]
struct Runner {
    name: String,
    start: Option<Start>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    Flying,
    Standing,
}

fn race(text: &str) -> String {
    let error = one(text).parse::<Race>().expect_err("an error");
    format!("{error} ({})", error.fix())
}

#[test]
fn values_of_the_wrong_type() {
    assert_snapshot!(race("laps: many\nname: x\nrunners: []"), @r#"a.yaml:1:7: laps: expected a whole number from 0 to 255, got the text "many" (write a whole number from 0 to 255 here)"#);
    assert_snapshot!(race("laps: '3'\nname: x\nrunners: []"), @r#"a.yaml:1:7: laps: expected a whole number from 0 to 255, got the text "3" (remove the quotes: 3)"#);
    assert_snapshot!(race("laps: 300\nname: x\nrunners: []"), @"a.yaml:1:7: laps: expected a whole number from 0 to 255, got the number 300 (write a whole number from 0 to 255 here)");
    assert_snapshot!(race("laps: 3\nname: 007\nrunners: []"), @"a.yaml:2:7: name: expected text, got the number 7 (write the value in quotes)");
    assert_snapshot!(race("laps: 3\nname: on\nrunners: []"), @"a.yaml:2:7: name: expected text, got the boolean true (write the value in quotes)");
    assert_snapshot!(race("laps: 3\nname: x\nrunners: {}"), @"a.yaml:3:1: runners: expected a list, got a mapping (start each element with `- `)");
    assert_snapshot!(race("laps: 3\nname: x\nrunners:\n  - name: a\n  - b"), @r#"a.yaml:5:5: runners[1]: expected a mapping, got the text "b" (write a mapping here)"#);
    assert_snapshot!(race("laps: 3\nname: x\nfast: 'true'\nrunners: []"), @r#"a.yaml:3:7: fast: expected true or false, got the text "true" (remove the quotes: true)"#);
    assert_snapshot!(race("- laps"), @"a.yaml:1:1: expected a mapping, got a list (remove the `- `)");
    assert_snapshot!(race("laps: 3\nname: x\nrunners:\n  - [a]"), @"a.yaml:4:5: runners[0]: expected a mapping, got a list (remove the `- `)");
}

#[test]
fn fields_that_are_missing_or_not_known() {
    assert_snapshot!(race("laps: 3\nrunners: []"), @"a.yaml:1:1: name: missing field `name` (add `name`; it has no default)");
    assert_snapshot!(race("laps: 3\nname: x\nrunners:\n  - name: a\n  - start: flying"), @"a.yaml:5:5: runners[1].name: missing field `name` (add `name`; it has no default)");
    assert_snapshot!(race("laps: 3\nname: x\nrunner: []"), @"a.yaml:3:1: runner: unknown field `runner` (did you mean `runners`? Known: `laps`, `name`, `fast`, `runners`)");
    assert_snapshot!(race("laps: 3\nname: x\nrunners:\n  - name: a\n    shoes: 2"), @"a.yaml:5:5: runners[0].shoes: unknown field `shoes` (known: `name`, `start`)");
    assert_snapshot!(race("laps: 3\nname: x\nrunners:\n  - name: a\n    start: flyin"), @"a.yaml:5:12: runners[0].start: unknown value `flyin` (did you mean `flying`? Known: `flying`, `standing`)");
}

#[test]
fn the_report_shows_the_line() {
    let error = one("laps: 3\nname: x\nrunners:\n  - name: 5\n").parse::<Race>().expect_err("an error");
    let mut report = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .render_report(&mut report, &error)
        .expect("a report");
    assert_snapshot!(report, @r"
     × a.yaml:4:11: runners[0].name: expected text, got the number 5
      ╭─[a.yaml:4:11]
    3 │ runners:
    4 │   - name: 5
      ·           ┬
      ·           ╰── runners[0].name
      ╰────
     help: write the value in quotes
    ");
}

#[test]
fn surrogate_pairs_of_json_are_an_error() {
    assert_snapshot!(errors(r#"{"a": "\ud83d\ude00"}"#), @"a.yaml:1:7: not valid YAML: while parsing a quoted scalar, found invalid Unicode character escape code (look at indentation, quotes and brackets on this line and the one before; a Helm template must be rendered first (helm template))");
    assert_eq!(one("{\"a\": \"😀\"}").value(), json!({"a": "😀"}));
}
