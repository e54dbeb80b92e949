use super::*;

fn compare(reader: &str, writer: &str) -> Vec<String> {
    let parse = |text: &str| JsonSchema::parse(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
    let found = check(&parse(reader), &parse(writer));
    found.iter().map(|found| format!("{} {}", found.kind_and_path().0, found.kind_and_path().1)).collect()
}

fn assert_reads(reader: &str, writer: &str) {
    assert_eq!(compare(reader, writer), Vec::<String>::new(), "{reader} reads {writer}");
}

/// The first reads the second, and not the other way round, for the reason given.
fn assert_wider(reader: &str, writer: &str, why: &str) {
    assert_reads(reader, writer);
    assert_eq!(compare(writer, reader), [why], "{writer} reads {reader}");
}

#[test]
fn every_schema_reads_itself() {
    for schema in [
        r#"{"type":"object","properties":{"a":{"type":"string","maxLength":3}},"required":["a"],"additionalProperties":false}"#,
        r#"{"oneOf":[{"type":"string"},{"type":"object","properties":{"x":{"const":1}}}]}"#,
        r##"{"type":"object","properties":{"next":{"$ref":"#"}}}"##,
        r#"{"not":{"type":"string"},"allOf":[{"minimum":1},{"multipleOf":2}]}"#,
        r#"{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"integer"},"contains":{"const":4}}"#,
        r#"{"if":{"type":"string"},"then":{"minLength":1}}"#,
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","properties":{"b":{"$ref":"#/$defs/a"}}}}}"##,
        "true",
        "false",
    ] {
        assert_reads(schema, schema);
    }
}

#[test]
fn types_widen() {
    assert_wider("true", r#"{"type":"string"}"#, "TYPE_NARROWED #/type");
    assert_wider(r#"{"type":"number"}"#, r#"{"type":"integer"}"#, "TYPE_CHANGED #/type");
    assert_wider(r#"{"type":["string","null"]}"#, r#"{"type":"string"}"#, "TYPE_NARROWED #/type");
    assert_eq!(compare(r#"{"type":"string"}"#, r#"{"type":"integer"}"#), ["TYPE_CHANGED #/type"]);
    assert_reads(r#"{"type":"string"}"#, r#"{"enum":["a","b"]}"#);
    assert_eq!(compare("false", r#"{"type":"string"}"#), ["TYPE_NARROWED #"]);
    assert_reads(r#"{"type":"string"}"#, "false");
}

#[test]
fn values_bounds_and_lengths() {
    assert_wider(r#"{"enum":["a","b"]}"#, r#"{"enum":["a"]}"#, "ENUM_ARRAY_NARROWED #/enum");
    assert_wider(r#"{"enum":["a","b"]}"#, r#"{"const":"a"}"#, "ENUM_ARRAY_NARROWED #/const");
    assert_eq!(compare(r#"{"enum":["a"]}"#, r#"{"enum":["b"]}"#), ["ENUM_ARRAY_CHANGED #/enum"]);
    let number = |rest: &str| format!(r#"{{"type":"number"{rest}}}"#);
    assert_wider(&number(r#","maximum":9"#), &number(r#","maximum":8"#), "MAXIMUM_DECREASED #/maximum");
    assert_wider(&number(""), &number(r#","minimum":1"#), "MINIMUM_ADDED #/minimum");
    assert_wider(
        &number(r#","maximum":9"#),
        &number(r#","exclusiveMaximum":9"#),
        "EXCLUSIVE_MAXIMUM_DECREASED #/exclusiveMaximum",
    );
    assert_wider(
        &number(r#","exclusiveMinimum":0"#),
        &number(r#","minimum":1"#),
        "MINIMUM_INCREASED #/minimum",
    );
    let draft4 =
        |rest: &str| format!(r#"{{"$schema":"http://json-schema.org/draft-04/schema#","maximum":9{rest}}}"#);
    assert_wider(
        &draft4(""),
        &draft4(r#","exclusiveMaximum":true"#),
        "EXCLUSIVE_MAXIMUM_DECREASED #/exclusiveMaximum",
    );
    assert_wider(
        &number(r#","multipleOf":2"#),
        &number(r#","multipleOf":6"#),
        "MULTIPLE_OF_EXPANDED #/multipleOf",
    );
    assert_eq!(
        compare(&number(r#","multipleOf":4"#), &number(r#","multipleOf":6"#)),
        ["MULTIPLE_OF_CHANGED #/multipleOf"]
    );
    assert_wider(&number(""), &number(r#","multipleOf":6"#), "MULTIPLE_OF_ADDED #/multipleOf");
    let string = |rest: &str| format!(r#"{{"type":"string"{rest}}}"#);
    assert_wider(
        &string(r#","maxLength":9"#),
        &string(r#","maxLength":8"#),
        "MAX_LENGTH_DECREASED #/maxLength",
    );
    assert_wider(&string(""), &string(r#","minLength":1"#), "MIN_LENGTH_ADDED #/minLength");
    assert_wider(&string(""), &string(r#","pattern":"a""#), "PATTERN_ADDED #/pattern");
    assert_eq!(
        compare(&string(r#","pattern":"a""#), &string(r#","pattern":"b""#)),
        ["PATTERN_CHANGED #/pattern"]
    );
}

fn object(properties: &str, rest: &str) -> String {
    format!(r#"{{"type":"object","properties":{{{properties}}}{rest}}}"#)
}

const CLOSED: &str = r#","additionalProperties":false"#;
const STRINGS: &str = r#","additionalProperties":{"type":"string"}"#;
const A: &str = r#""a":{"type":"string"}"#;
const B: &str = r#""b":{"type":"integer"}"#;

#[test]
fn content_models_decide_about_properties() {
    let both = format!("{A},{B}");
    assert_wider(&object(A, ""), &object(&both, ""), "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL #/properties/b");
    assert_wider(
        &object(&both, CLOSED),
        &object(A, CLOSED),
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL #/properties/b",
    );
    assert_reads(&object(&format!(r#"{A},"c":{{}}"#), ""), &object(A, ""));
    assert_reads(&object(&format!(r#"{A},"c":{{"type":"string"}}"#), STRINGS), &object(A, STRINGS));
    assert_eq!(
        compare(&object(&both, STRINGS), &object(A, STRINGS)),
        ["PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL #/properties/b"]
    );
    assert_eq!(
        compare(&object(A, STRINGS), &object(&both, STRINGS)),
        ["PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL #/properties/b"]
    );
    assert_wider(&object(A, ""), &object(A, CLOSED), "ADDITIONAL_PROPERTIES_REMOVED #/additionalProperties");
    assert_wider(
        &object(A, ""),
        &object(A, STRINGS),
        "ADDITIONAL_PROPERTIES_NARROWED #/additionalProperties",
    );
    let pattern = r#","patternProperties":{"^b":{"type":"integer"}},"additionalProperties":false"#;
    assert_wider(
        &object(A, pattern),
        &object(&both, CLOSED),
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL #/patternProperties/^b",
    );
}

#[test]
fn required_needs_a_default() {
    let required = r#","required":["a"]"#;
    assert_wider(&object(A, ""), &object(A, required), "REQUIRED_ATTRIBUTE_ADDED #/required/a");
    let defaulted = r#""a":{"type":"string","default":"x"}"#;
    assert_reads(&object(defaulted, required), &object(A, ""));
    let new = format!(r#"{CLOSED},"required":["b"]"#);
    assert_eq!(
        compare(&object(&format!("{A},{B}"), &new), &object(A, CLOSED)),
        ["REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL #/required/b"]
    );
    let dependent = r#","dependentRequired":{"a":["b"]}"#;
    assert_wider(&object(A, ""), &object(A, dependent), "DEPENDENCY_ARRAY_ADDED #/dependentRequired/a");
    let dependent = r#","dependentSchemas":{"a":{"required":["b"]}}"#;
    assert_wider(&object(A, ""), &object(A, dependent), "DEPENDENCY_SCHEMA_ADDED #/dependentSchemas/a");
    let names = r#","propertyNames":{"maxLength":3}"#;
    assert_wider(&object(A, ""), &object(A, names), "MAX_LENGTH_ADDED #/propertyNames/maxLength");
    assert_wider(&object(A, ""), &object(A, r#","minProperties":1"#), "MIN_PROPERTIES_ADDED #/minProperties");
}

#[test]
fn arrays() {
    let array = |rest: &str| format!(r#"{{"type":"array"{rest}}}"#);
    assert_wider(
        &array(r#","items":{"type":"number"}"#),
        &array(r#","items":{"type":"integer"}"#),
        "TYPE_CHANGED #/items/type",
    );
    assert_wider(&array(""), &array(r#","items":{"type":"string"}"#), "TYPE_NARROWED #/items");
    assert_wider(&array(""), &array(r#","uniqueItems":true"#), "UNIQUE_ITEMS_ADDED #/uniqueItems");
    assert_wider(&array(r#","maxItems":4"#), &array(r#","maxItems":3"#), "MAX_ITEMS_DECREASED #/maxItems");
    assert_wider(&array(""), &array(r#","contains":{"const":1}"#), "CONTAINS_CHANGED #/contains");
    let places = |places: &str, rest: &str| array(&format!(r#","prefixItems":[{places}],"items":{rest}"#));
    let (string, integer) = (r#"{"type":"string"}"#, r#"{"type":"integer"}"#);
    let two = format!("{string},{integer}");
    assert_wider(
        &places(string, "true"),
        &places(&two, "true"),
        "ITEM_ADDED_TO_OPEN_CONTENT_MODEL #/items/1",
    );
    assert_wider(
        &places(&two, "false"),
        &places(string, "false"),
        "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL #/items/1",
    );
    assert_wider(&places(string, "true"), &places(string, "false"), "ADDITIONAL_ITEMS_REMOVED #/items");
    assert_eq!(
        compare(&places(&two, string), &places(string, string)),
        ["ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL #/items/1"]
    );
}

#[test]
fn combinations() {
    let (string, integer, null) = (r#"{"type":"string"}"#, r#"{"type":"integer"}"#, r#"{"type":"null"}"#);
    let any = |keyword: &str, parts: &[&str]| format!(r#"{{"{keyword}":[{}]}}"#, parts.join(","));
    for keyword in ["anyOf", "oneOf"] {
        assert_wider(
            &any(keyword, &[string, integer]),
            &any(keyword, &[string]),
            &format!("COMBINED_TYPE_SUBSCHEMAS_CHANGED #/{keyword}")
                .replace("COMBINED_TYPE_SUBSCHEMAS_CHANGED", "SUM_TYPE_NARROWED"),
        );
        assert_reads(&any(keyword, &[string, integer]), integer);
        assert_eq!(
            compare(&any(keyword, &[string, integer]), &any(keyword, &[string, null])),
            [format!("COMBINED_TYPE_SUBSCHEMAS_CHANGED #/{keyword}")]
        );
        assert_eq!(
            compare(&any(keyword, &[string, integer]), null),
            [format!("COMBINED_TYPE_SUBSCHEMAS_CHANGED #/{keyword}")]
        );
        assert_reads(r#"{"type":["string","integer"]}"#, &any(keyword, &[string, integer]));
    }
    assert_reads(&any("anyOf", &[string, integer]), &any("oneOf", &[string, integer]));
    assert_eq!(
        compare(&any("oneOf", &[string, integer]), &any("anyOf", &[string, integer])),
        ["COMBINED_TYPE_CHANGED #/oneOf"]
    );
    // One part of the reader cannot stand for two of the writer's.
    let short = r#"{"type":"string","maxLength":1}"#;
    assert_eq!(
        compare(&any("oneOf", &[string]), &any("oneOf", &[string, short])),
        ["SUM_TYPE_NARROWED #/oneOf"]
    );
    let all = any("allOf", &[r#"{"minimum":1}"#, r#"{"maximum":5}"#]);
    assert_wider(&any("allOf", &[r#"{"minimum":1}"#]), &all, "PRODUCT_TYPE_EXTENDED #/allOf");
    assert_reads(r#"{"maximum":6}"#, &all);
    assert_wider(
        &format!(r#"{{"not":{short}}}"#),
        &format!(r#"{{"not":{string}}}"#),
        "NOT_TYPE_EXTENDED #/not",
    );
    assert_eq!(
        compare(r#"{"if":{"type":"string"},"then":{"minLength":1}}"#, "{}"),
        ["CONDITION_CHANGED #/if", "CONDITION_CHANGED #/then"]
    );
}

#[test]
fn references_are_followed() {
    let list = |kind: &str| {
        format!(
            r##"{{"$ref":"#/$defs/l","$defs":{{"l":{{"type":"object","properties":{{"v":{{"type":"{kind}"}},"n":{{"$ref":"#/$defs/l"}}}}}}}}}}"##
        )
    };
    assert_wider(&list("number"), &list("integer"), "TYPE_CHANGED #/properties/v/type");
    let plain = r#"{"type":"object","properties":{"v":{"type":"integer"},"n":{"type":"object","properties":{"v":{"type":"integer"}}}}}"#;
    // What the list says of deeper elements is more than the other said.
    assert!(!compare(&list("integer"), plain).is_empty());
    assert_reads(
        r##"{"allOf":[{"$ref":"#/$defs/s"}],"$defs":{"s":{"type":"string"}}}"##,
        r#"{"type":"string"}"#,
    );
}

#[test]
fn large_alternatives_end() {
    let mut schema = r#"{"type":"string"}"#.to_owned();
    for _ in 0..25 {
        schema = format!(
            r#"{{"anyOf":[{schema},{{"type":"object","properties":{{"a":{{"type":"integer"}}}}}}]}}"#
        );
    }
    let other = schema.replace("integer", "string");
    assert!(!compare(&other, &schema).is_empty());
}
