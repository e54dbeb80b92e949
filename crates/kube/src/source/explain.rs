//! serde's messages in the words of the file: "expected a whole number, got the text \"x\"".
//!
//! serde gives text only, whose forms are those of `serde::de::Error`'s provided methods. A message of
//! another form is passed on as it is.

use super::node::{Data, Node};

/// What to tell the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    pub what: String,
    pub help: String,
    /// The field that the message is about, if it is a field of the value rather than the value.
    pub key: Option<String>,
}

/// Explains serde's message `said` about `node` (if the path led to one).
pub fn explain(said: &str, node: Option<&Node>) -> Explanation {
    missing_field(said)
        .or_else(|| unknown(said, "unknown field ", "field"))
        .or_else(|| unknown(said, "unknown variant ", "value"))
        .or_else(|| wrong_type(said, node))
        .or_else(|| wrong_address(said, node))
        .unwrap_or_else(|| Explanation {
            what: said.to_owned(),
            help: "change the value to what is expected".to_owned(),
            key: None,
        })
}

/// The one of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance_max = 1 + word.chars().count() / 4;
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, candidate)| candidate)
}

fn missing_field(said: &str) -> Option<Explanation> {
    let name = said.strip_prefix("missing field `")?.strip_suffix('`')?;
    Some(Explanation {
        what: format!("missing field `{name}`"),
        help: format!("add `{name}`; it has no default"),
        key: Some(name.to_owned()),
    })
}

/// "unknown field `x`, expected one of `a`, `b`" and the same for variants.
fn unknown(said: &str, prefix: &str, noun: &str) -> Option<Explanation> {
    let (word, rest) = said.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let what = format!("unknown {noun} `{word}`");
    let listed = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    let help = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? Known: {listed}"),
        None if known.is_empty() => format!("remove it; no {noun} is known here"),
        None => format!("known: {listed}"),
    };
    Some(Explanation { what, help, key: (noun == "field").then(|| word.to_owned()) })
}

/// "invalid type: X, expected Y" and its kin.
fn wrong_type(said: &str, node: Option<&Node>) -> Option<Explanation> {
    let rest = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|prefix| said.strip_prefix(prefix))?;
    let (got, expected) = rest.rsplit_once(", expected ")?;
    let is_out_of_range = said.starts_with("invalid value");
    let expected = type_in_words(expected, is_out_of_range);
    let got = node.map_or_else(|| got.to_owned(), Node::in_words);
    let help = match node.map(|node| &node.data) {
        Some(Data::Bool(_) | Data::Number(_)) if expected == "text" => "write the value in quotes".to_owned(),
        Some(Data::Text(text)) if expected.contains("number") && text.trim().parse::<f64>().is_ok() => {
            format!("remove the quotes: {}", text.trim())
        }
        Some(Data::Text(text))
            if expected == "true or false" && matches!(text.as_str(), "true" | "false") =>
        {
            format!("remove the quotes: {text}")
        }
        Some(Data::Map(_)) if expected == "a list" => "start each element with `- `".to_owned(),
        Some(Data::List(_)) if expected == "a mapping" => "remove the `- `".to_owned(),
        _ => format!("write {expected} here"),
    };
    Some(Explanation { what: format!("expected {expected}, got {got}"), help, key: None })
}

/// The standard library's message for text that is no IP address.
fn wrong_address(said: &str, node: Option<&Node>) -> Option<Explanation> {
    let kind = said.strip_prefix("invalid ")?.strip_suffix(" address syntax")?;
    let example = if kind == "IPv6" { "2001:db8::1" } else { "192.0.2.1" };
    let got = node.map_or_else(String::new, |node| format!(", got {}", node.in_words()));
    Some(Explanation {
        what: format!("expected an {kind} address{got}"),
        help: format!("write an address such as {example}"),
        key: None,
    })
}

/// A type as serde or k8s-openapi names it, in plain words.
fn type_in_words(name: &str, is_out_of_range: bool) -> String {
    let words = match name {
        "a string" | "string" | "str" | "a borrowed string" => "text",
        "a boolean" | "bool" => "true or false",
        "i32" if is_out_of_range => "a whole number from -2147483648 to 2147483647",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" if is_out_of_range => "a whole number from 0 to 4294967295",
        "u32" | "u64" | "usize" => "a whole number of 0 or more",
        "f32" | "f64" => "a number",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a mapping",
        "IntOrString" => "a number or a name",
        "a nonzero u16" => "a whole number from 1 to 65535",
        _ if name.starts_with("struct ") => "a mapping",
        // k8s-openapi names its structs bare.
        _ if name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric()) =>
        {
            return format!("a mapping ({name})");
        }
        _ => name,
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_get_a_suggestion() {
        let explanation = explain("unknown field `podCidr`, expected one of `nodes`, `podCIDR`", None);
        assert_eq!(explanation.what, "unknown field `podCidr`");
        assert_eq!(explanation.help, "did you mean `podCIDR`? Known: `nodes`, `podCIDR`");
        assert_eq!(explanation.key.as_deref(), Some("podCidr"));
        let explanation = explain("unknown field `x`, there are no fields", None);
        assert_eq!(explanation.help, "remove it; no field is known here");
    }

    #[test]
    fn far_words_are_not_suggested() {
        assert_eq!(nearest("colour", ["zone", "address"]), None);
        assert_eq!(nearest("adress", ["zone", "address"]), Some("address"));
        assert_eq!(nearest("TargetPort", ["targetPort", "port"]), Some("targetPort"));
    }

    #[test]
    fn messages_of_another_form_are_kept() {
        assert_eq!(explain("the rack is full", None).what, "the rack is full");
        assert_eq!(explain("invalid type: odd", None).what, "invalid type: odd");
    }
}
