//! The clients that can be compared: a table per client, and the comparison of all.

mod franz_go;
mod hopwise;
mod java;
mod librdkafka;
mod naive;

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use hopwise_fabric::net::resolver::ResolverKind;

use crate::behaviour::Behaviour;

/// Fills a [`Behaviour`]: a line per setting with its value and where that comes from.
macro_rules! table {
    ($($setting:ident = $value:expr, $source:literal;)*) => {
        pub(super) const BEHAVIOUR: crate::behaviour::Behaviour =
            crate::behaviour::Behaviour { $($setting: $value),* };
        pub(super) const SOURCES: &[(&str, &str)] = &[$((stringify!($setting), $source)),*];
    };
}
use table;

/// A client that people use, or might write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The Java client's times with the fewest surprises: what a check wants.
    #[default]
    Hopwise,
    /// librdkafka, and what is built on it (confluent-kafka, kcat, rust-rdkafka).
    Librdkafka,
    /// Apache Kafka's own.
    Java,
    /// franz-go.
    FranzGo,
    /// A program that does not know what can go wrong.
    Naive,
}

/// A word that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a client profile; the profiles are hopwise, librdkafka, java, franz-go and naive")]
pub struct UnknownProfile(pub String);

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 5] =
        [Profile::Hopwise, Profile::Librdkafka, Profile::Java, Profile::FranzGo, Profile::Naive];

    /// Its name in scenarios.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Hopwise => "hopwise",
            Profile::Librdkafka => "librdkafka",
            Profile::Java => "java",
            Profile::FranzGo => "franz-go",
            Profile::Naive => "naive",
        }
    }

    /// Its table.
    pub fn behaviour(self) -> Behaviour {
        match self {
            Profile::Hopwise => hopwise::BEHAVIOUR,
            Profile::Librdkafka => librdkafka::BEHAVIOUR,
            Profile::Java => java::BEHAVIOUR,
            Profile::FranzGo => franz_go::BEHAVIOUR,
            Profile::Naive => naive::BEHAVIOUR,
        }
    }

    /// Where each value of its table comes from, by setting.
    pub fn sources(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Profile::Hopwise => hopwise::SOURCES,
            Profile::Librdkafka => librdkafka::SOURCES,
            Profile::Java => java::SOURCES,
            Profile::FranzGo => franz_go::SOURCES,
            Profile::Naive => naive::SOURCES,
        }
    }

    /// The resolver that programs with this client have.
    pub fn resolver(self) -> ResolverKind {
        match self {
            Profile::Java => ResolverKind::Jvm,
            Profile::FranzGo => ResolverKind::Go,
            Profile::Hopwise | Profile::Librdkafka | Profile::Naive => ResolverKind::Glibc,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Profile, UnknownProfile> {
        let found = Profile::ALL.into_iter().find(|profile| profile.as_str() == text);
        found.ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// The values of all profiles side by side, as a Markdown table.
pub fn comparison() -> String {
    let columns = Profile::ALL.map(|profile| rows(&profile.behaviour()));
    let names = columns[0].iter().map(|(setting, _)| *setting);
    markdown(names.enumerate().map(|(row, setting)| {
        let values = columns.iter().map(|column| column[row].1.clone());
        (setting, values.collect())
    }))
}

/// Where those values come from, as a Markdown table.
pub fn comparison_of_sources() -> String {
    let columns = Profile::ALL.map(Profile::sources);
    let names = columns[0].iter().map(|(setting, _)| *setting);
    markdown(names.map(|setting| {
        let source = |column: &&[(&str, &str)]| {
            let found = column.iter().find(|(name, _)| *name == setting);
            found.map_or_else(String::new, |(_, source)| (*source).to_owned())
        };
        (setting, columns.iter().map(source).collect())
    }))
}

fn markdown<'a>(rows: impl Iterator<Item = (&'a str, Vec<String>)>) -> String {
    let names = Profile::ALL.map(Profile::as_str).join(" | ");
    let mut text = format!("| setting | {names} |\n|---|{}\n", "---|".repeat(Profile::ALL.len()));
    for (setting, cells) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{setting}` | {} |", cells.join(" | "));
    }
    text
}

/// Each setting with its value in words. A setting that is not here does not compile.
fn rows(behaviour: &Behaviour) -> Vec<(&'static str, String)> {
    macro_rules! rows {
        ($($setting:ident: $word:expr,)*) => {{
            let Behaviour { $($setting),* } = behaviour;
            vec![$((stringify!($setting), $word($setting))),*]
        }};
    }
    fn word(value: &impl ToString) -> String {
        value.to_string()
    }
    fn time(value: &Duration) -> String {
        format!("{value:?}")
    }
    fn end(value: &Option<Duration>) -> String {
        value.map_or("never".to_owned(), |value| format!("{value:?}"))
    }
    rows! {
        metadata_max_age: end,
        metadata_min_interval: time,
        metadata_topics: word,
        topic_max_idle: end,
        refresh_on: word,
        ask_anyone: word,
        bootstrap_order: word,
        rebootstrap: word,
        bootstrap_connection: word,
        resolve: word,
        families: word,
        address_order: word,
        addresses_tried: word,
        connect_timeout: word,
        reconnect_backoff: word,
        connections: word,
        connections_max_idle: end,
        address_change: word,
        max_in_flight: word,
        request_timeout: time,
        server_wait: word,
        ack_timeout: time,
        retry_backoff: word,
        produce: word,
        fetch: word,
        others: word,
        leader_hints: word,
        receive_bytes_max: word,
        produce_version_max: word,
        fetch_version_max: word,
        metadata_version_max: word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/client-profiles.md, which shows the tables to readers.
    const DOCUMENT: &str = include_str!("../../../../docs/client-profiles.md");

    #[test]
    fn the_document_shows_the_tables_that_run() {
        for table in [comparison(), comparison_of_sources()] {
            assert!(DOCUMENT.contains(&table), "docs/client-profiles.md has to contain this table:\n{table}");
        }
    }

    #[test]
    fn every_value_has_a_source() {
        for profile in Profile::ALL {
            for (setting, source) in profile.sources() {
                assert!(source.len() > 3, "{profile}: {setting} has no source");
            }
        }
    }

    #[test]
    fn names_are_read_and_others_are_refused_with_those_there_are() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(profile));
        }
        let refused = "sarama".parse::<Profile>().expect_err("no profile");
        assert!(refused.to_string().contains("librdkafka, java, franz-go"), "{refused}");
    }
}
