//! Arrays: sizes, places and the rest.

use serde_json::Value;

use super::{Checker, Schema};

/// What an array's items have to be: those at fixed places, and all others.
struct Items<'a> {
    places: Vec<Schema<'a>>,
    rest: Schema<'a>,
    /// The keyword of the rest.
    keyword: &'static str,
}

impl<'a> Items<'a> {
    /// `prefixItems` with `items` since 2020-12, `items` with `additionalItems` before.
    fn of(schema: &Schema<'a>) -> Items<'a> {
        let rest = |key: &str| schema.part(key).unwrap_or_else(|| schema.anything());
        match schema.get("items") {
            Some(Value::Array(_)) => Items {
                places: schema.parts("items"),
                rest: rest("additionalItems"),
                keyword: "additionalItems",
            },
            _ => Items { places: schema.parts("prefixItems"), rest: rest("items"), keyword: "items" },
        }
    }
}

impl Checker {
    pub(super) fn compare_arrays(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        self.compare_limit(reader, writer, path, "maxItems", ("MAX_ITEMS_ADDED", "MAX_ITEMS_DECREASED"));
        self.compare_limit(reader, writer, path, "minItems", ("MIN_ITEMS_ADDED", "MIN_ITEMS_INCREASED"));
        let unique = |schema: &Schema| schema.get("uniqueItems") == Some(&Value::Bool(true));
        if unique(reader) && !unique(writer) {
            self.report("UNIQUE_ITEMS_ADDED", format!("{path}/uniqueItems"), "items have to differ now");
        }
        if reader.get("contains").is_some() && reader.get("contains") != writer.get("contains") {
            self.report("CONTAINS_CHANGED", format!("{path}/contains"), "a needed item is new or changed");
        }
        let (own, written) = (Items::of(reader), Items::of(writer));
        for place in 0..own.places.len().max(written.places.len()) {
            let at = format!("{path}/items/{place}");
            match (own.places.get(place), written.places.get(place)) {
                (Some(reader), Some(writer)) => self.compare(reader, writer, &at),
                (Some(reader), None) => self.added_item(reader, &written.rest, &at),
                (None, Some(writer)) => self.removed_item(&own.rest, writer, &at),
                (None, None) => {}
            }
        }
        self.compare_rest_of_items(&own, &written, path);
    }

    fn added_item(&mut self, reader: &Schema, rest: &Schema, path: &str) {
        if rest.allows_nothing() || self.reads(|checker| checker.compare(reader, rest, path)) {
            return;
        }
        let kind = match rest.allows_anything() {
            true => "ITEM_ADDED_TO_OPEN_CONTENT_MODEL",
            false => "ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        };
        self.report(kind, path, "an item at this place could be anything else before");
    }

    fn removed_item(&mut self, rest: &Schema, writer: &Schema, path: &str) {
        if self.reads(|checker| checker.compare(rest, writer, path)) {
            return;
        }
        let kind = match rest.allows_nothing() {
            true => "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL",
            false => "ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        };
        self.report(kind, path, "an item at this place is not allowed any more");
    }

    fn compare_rest_of_items(&mut self, own: &Items, written: &Items, path: &str) {
        let at = format!("{path}/{}", own.keyword);
        if own.rest.allows_nothing() && !written.rest.allows_nothing() {
            self.report("ADDITIONAL_ITEMS_REMOVED", at, "there may be no further items any more");
        } else if written.rest.allows_anything() && !own.rest.allows_anything() {
            let kind = if own.places.is_empty() { "TYPE_NARROWED" } else { "ADDITIONAL_ITEMS_NARROWED" };
            self.report(kind, at, "further items could be anything before");
        } else {
            self.compare(&own.rest, &written.rest, &at);
        }
    }
}
