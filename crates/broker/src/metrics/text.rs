//! The Prometheus text format, version 0.0.4.
//!
//! Families are written by name and samples by labels, so that equal numbers give equal bytes whatever order
//! they were added in. `prometheus-client` does not fit: it writes OpenMetrics and walks a hash map.
//! Source: prometheus.io, "Exposition formats", text format details.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::histogram::Histogram;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Label names and values, in the order they are written.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// What is being written.
#[derive(Default)]
pub(crate) struct Exposition {
    families: BTreeMap<&'static str, Family>,
}

struct Family {
    kind: Kind,
    help: &'static str,
    /// Lines by their labels.
    samples: BTreeMap<String, String>,
}

impl Exposition {
    /// Adds a count that only rises.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: Labels<'_>, value: u64) {
        self.sample(name, Kind::Counter, help, labels, value as f64);
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: Labels<'_>, value: f64) {
        self.sample(name, Kind::Gauge, help, labels, value);
    }

    /// Adds a distribution of seconds.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
        values: &Histogram,
    ) {
        let key = label_text(labels);
        let mut lines = String::new();
        let mut bucket = |bound: &str, count: u64| {
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", bound));
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{name}_bucket{} {count}", label_text(&with_bound));
        };
        let seen = values.seen();
        for (bound, count) in &seen.buckets {
            bucket(&number(*bound), *count);
        }
        bucket("+Inf", seen.count);
        let _ = writeln!(lines, "{name}_sum{key} {}", number(seen.sum_seconds));
        let _ = writeln!(lines, "{name}_count{key} {}", seen.count);
        self.family(name, Kind::Histogram, help).samples.insert(key, lines);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        let mut text = String::new();
        for (name, family) in self.families {
            let _ =
                writeln!(text, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"));
            let _ = writeln!(text, "# TYPE {name} {}", family.kind.as_str());
            text.extend(family.samples.into_values());
        }
        text
    }

    fn sample(&mut self, name: &'static str, kind: Kind, help: &'static str, labels: Labels<'_>, value: f64) {
        let key = label_text(labels);
        let line = format!("{name}{key} {}\n", number(value));
        self.family(name, kind, help).samples.insert(key, line);
    }

    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Family {
        self.families.entry(name).or_insert_with(|| Family { kind, help, samples: BTreeMap::new() })
    }
}

/// Whole numbers without a point, others as short as they can be read back.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value}") }
}

fn label_text(labels: Labels<'_>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn families_and_samples_are_sorted_and_escaped() {
        let mut text = Exposition::default();
        text.gauge("redpanda_b", "Second.", &[("topic", "z")], 0.5);
        text.gauge("redpanda_b", "Second.", &[("topic", "a\"\n")], 3.0);
        text.counter("redpanda_a_total", "First.", &[], 7);
        let expected = "# HELP redpanda_a_total First.\n# TYPE redpanda_a_total counter\nredpanda_a_total 7\n\
                        # HELP redpanda_b Second.\n# TYPE redpanda_b gauge\n\
                        redpanda_b{topic=\"a\\\"\\n\"} 3\nredpanda_b{topic=\"z\"} 0.5\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_histogram_has_cumulative_buckets() {
        let values = Histogram::default();
        values.observe(Duration::from_micros(100));
        values.observe(Duration::from_millis(1));
        let mut text = Exposition::default();
        text.histogram("redpanda_seconds", "Time.", &[("request", "produce")], &values);
        let text = text.finish();
        assert!(text.contains("redpanda_seconds_bucket{request=\"produce\",le=\"0.000255\"} 1\n"), "{text}");
        assert!(text.contains("redpanda_seconds_bucket{request=\"produce\",le=\"0.001023\"} 2\n"), "{text}");
        assert!(text.contains("redpanda_seconds_bucket{request=\"produce\",le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("redpanda_seconds_sum{request=\"produce\"} 0.0011\n"), "{text}");
        assert!(text.ends_with("redpanda_seconds_count{request=\"produce\"} 2\n"), "{text}");
    }
}
