//! What the plugins' lines mean.

use std::net::IpAddr;

use regex::Regex;

use super::syntax::Directive;
use super::{Corefile, CorefileError, Ignored, ServerBlock};
use crate::dns::cache::CacheOptions;
use crate::dns::rewrite::{Hosts, Pattern, Rewrite};
use crate::dns::zone::{Options, PodMode};

/// Plugins that change no answer.
const WITHOUT_EFFECT: &[&str] = &[
    "errors",
    "health",
    "ready",
    "prometheus",
    "loop",
    "reload",
    "log",
    "trace",
    "debug",
    "bufsize",
    "cancel",
    "minimal",
    "pprof",
    "nsid",
    "multisocket",
];

/// Time to live of records that the plugin `kubernetes` and `hosts` give by default, in seconds (kubernetes.md 5.3;
/// plugin/hosts/README.md).
const KUBERNETES_TTL_S: u32 = 5;
const HOSTS_TTL_S: u32 = 3600;
/// Longest time to live of `kubernetes`, in seconds.
const KUBERNETES_TTL_MAX_S: u32 = 3600;

pub(super) fn corefile(directives: &[Directive]) -> Result<Corefile, CorefileError> {
    let mut reader = Reader { kubernetes: None, ignored: Vec::new() };
    let mut blocks = Vec::new();
    for directive in directives {
        blocks.extend(reader.block(directive)?);
    }
    let kubernetes = reader.kubernetes.unwrap_or_default();
    Ok(Corefile { blocks, kubernetes, ignored: reader.ignored })
}

struct Reader {
    kubernetes: Option<Options>,
    ignored: Vec<Ignored>,
}

impl Reader {
    fn ignore(&mut self, line: usize, words: &[String]) {
        self.ignored.push(Ignored { line, what: words.join(" ") });
    }

    /// A server block; `None` for one that is not on port 53.
    fn block(&mut self, directive: &Directive) -> Result<Option<ServerBlock>, CorefileError> {
        let mut block = ServerBlock::default();
        for word in &directive.words {
            match zone_of(word.trim_end_matches(',')) {
                Some(zone) => block.zones.push(zone),
                None => self.ignore(directive.line, std::slice::from_ref(word)),
            }
        }
        if block.zones.is_empty() {
            return Ok(None);
        }
        for line in &directive.block {
            self.plugin(&mut block, line)?;
        }
        Ok(Some(block))
    }

    fn plugin(&mut self, block: &mut ServerBlock, line: &Directive) -> Result<(), CorefileError> {
        match line.words[0].as_str() {
            "kubernetes" if self.kubernetes.is_some() => self.ignore(line.line, &line.words),
            "kubernetes" => {
                let options = self.kubernetes(&block.zones, line)?;
                self.kubernetes = Some(options);
                block.kubernetes = true;
            }
            "cache" => block.cache = Some(self.cache(line)?),
            "forward" | "proxy" => {
                block.forward = true;
                // Which servers are asked makes no difference: all are taken to know the same names.
                if line.words.get(2).is_some_and(|to| to != "/etc/resolv.conf") {
                    self.ignore(line.line, &line.words);
                }
            }
            "hosts" => block.hosts = Some(self.hosts(line)?),
            "rewrite" => match rewrite(line)? {
                Some(rule) => block.rewrites.push(rule),
                None => self.ignore(line.line, &line.words),
            },
            "autopath" if line.words.get(1).is_some_and(|word| word == "@kubernetes") => {
                block.autopath = true
            }
            "loadbalance" => {
                block.loadbalance = line.words.get(1).is_none_or(|policy| policy == "round_robin")
            }
            name if WITHOUT_EFFECT.contains(&name) => {}
            _ => self.ignore(line.line, &line.words),
        }
        Ok(())
    }

    fn kubernetes(&mut self, zones: &[String], line: &Directive) -> Result<Options, CorefileError> {
        let mut options = Options {
            ttl_s: KUBERNETES_TTL_S,
            pods: PodMode::Disabled,
            fallthrough: Vec::new(),
            reverse_zones: Vec::new(),
            ..Options::default()
        };
        let named: Vec<String> = line.words[1..].iter().map(|zone| absolute(zone)).collect();
        let zones = if named.is_empty() { zones } else { &named };
        let (reverse, forward): (Vec<String>, Vec<String>) = zones
            .iter()
            .cloned()
            .partition(|zone| zone.ends_with("in-addr.arpa.") || zone.ends_with("ip6.arpa."));
        options.reverse_zones = reverse;
        if let Some(first) = forward.first() {
            options.domain.clone_from(first);
        }
        if forward.len() > 1 {
            self.ignore(line.line, &forward[1..]);
        }
        for option in &line.block {
            let words: Vec<&str> = option.words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["ttl", value] => options.ttl_s = number(option, value, KUBERNETES_TTL_MAX_S)?,
                ["pods", "disabled"] => options.pods = PodMode::Disabled,
                ["pods", "insecure"] => options.pods = PodMode::Insecure,
                ["pods", "verified"] => options.pods = PodMode::Verified,
                ["pods", ..] => return Err(wrong(option, "expected pods disabled, insecure or verified")),
                ["namespaces", names @ ..] => {
                    options.namespaces = names.iter().map(ToString::to_string).collect()
                }
                ["fallthrough", zones @ ..] => options.fallthrough = fallthrough(zones),
                ["endpoint_pod_names"] => options.endpoint_pod_names = true,
                ["ignore", "empty_service"] => options.ignore_empty_service = true,
                [
                    "endpoint"
                    | "tls"
                    | "kubeconfig"
                    | "upstream"
                    | "resyncperiod"
                    | "apiserver_qps"
                    | "apiserver_burst"
                    | "apiserver_max_inflight"
                    | "startup_timeout"
                    | "noendpoints",
                    ..,
                ] if words[0] != "noendpoints" => {}
                _ => self.ignore(option.line, &option.words),
            }
        }
        Ok(options)
    }

    fn cache(&mut self, line: &Directive) -> Result<CacheOptions, CorefileError> {
        let mut rest = &line.words[1..];
        let ttl_s = rest.first().and_then(|word| word.parse().ok());
        if ttl_s.is_some() {
            rest = &rest[1..];
        }
        let mut options = CacheOptions::new(ttl_s);
        options.zones = rest.iter().map(|zone| absolute(zone)).collect();
        for option in &line.block {
            let words: Vec<&str> = option.words.iter().map(String::as_str).collect();
            match words.as_slice() {
                [kind @ ("success" | "denial"), values @ ..] => {
                    let class = if *kind == "success" { &mut options.success } else { &mut options.denial };
                    if let Some(capacity) = values.first() {
                        class.capacity = number(option, capacity, u32::MAX)? as usize;
                    }
                    if let Some(most) = values.get(1) {
                        class.ttl_max_s = number(option, most, u32::MAX)?;
                    }
                    if let Some(least) = values.get(2) {
                        class.ttl_min_s = number(option, least, u32::MAX)?;
                    }
                    class.ttl_min_s = class.ttl_min_s.min(class.ttl_max_s);
                }
                ["disable", kind @ ("success" | "denial"), zones @ ..] => {
                    let class = if *kind == "success" { &mut options.success } else { &mut options.denial };
                    class.disabled = fallthrough(zones);
                }
                ["servfail", duration] => {
                    options.server_failure_s =
                        seconds(duration).ok_or_else(|| wrong(option, "expected a duration such as 5s"))?;
                }
                ["keepttl"] => options.keep_ttl = true,
                _ => self.ignore(option.line, &option.words),
            }
        }
        Ok(options)
    }

    fn hosts(&mut self, line: &Directive) -> Result<Hosts, CorefileError> {
        let mut hosts = Hosts { ttl_s: HOSTS_TTL_S, ..Hosts::default() };
        if line.words.len() > 1 {
            self.ignore(line.line, &line.words);
        }
        for option in &line.block {
            let words: Vec<&str> = option.words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["ttl", value] => hosts.ttl_s = number(option, value, u32::MAX)?,
                ["fallthrough", zones @ ..] => hosts.fallthrough = fallthrough(zones),
                ["no_reverse" | "reload", ..] => {}
                [address, names @ ..] => {
                    let ip: IpAddr =
                        address.parse().map_err(|_| wrong(option, "expected an address and its names"))?;
                    for name in names {
                        hosts.names.entry(absolute(name)).or_default().push(ip);
                    }
                }
                [] => {}
            }
        }
        Ok(hosts)
    }
}

/// `rewrite [continue|stop] [name] [exact|prefix|suffix|substring|regex] FROM TO [answer auto]`, in one line or with a
/// block; `None` for other rules.
fn rewrite(line: &Directive) -> Result<Option<Rewrite>, CorefileError> {
    let mut words: Vec<&str> = line.words[1..].iter().map(String::as_str).collect();
    let inner = line.block.iter().flat_map(|line| line.words.iter().map(String::as_str));
    words.extend(inner);
    let goes_on = words.first() == Some(&"continue");
    if matches!(words.first(), Some(&("continue" | "stop"))) {
        words.remove(0);
    }
    let Some(("name", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) else {
        return Ok(None);
    };
    let (kind, rest) = match rest {
        [kind @ ("exact" | "prefix" | "suffix" | "substring" | "regex"), rest @ ..] => (*kind, rest),
        rest => ("exact", rest),
    };
    let [from, to, rest @ ..] = rest else { return Err(wrong(line, "expected rewrite name KIND FROM TO")) };
    let auto = matches!(rest, ["answer", "auto"]);
    if !auto && !rest.is_empty() {
        return Ok(None);
    }
    let lower = from.to_ascii_lowercase();
    let from = match kind {
        "exact" => Pattern::Exact(absolute(from)),
        "prefix" => Pattern::Prefix(lower),
        "suffix" => Pattern::Suffix(absolute(from)),
        "substring" => Pattern::Substring(lower),
        _ => Pattern::Regex(Regex::new(from).map_err(|error| wrong(line, &error.to_string()))?),
    };
    let to = if matches!(kind, "exact" | "suffix") { absolute(to) } else { to.to_ascii_lowercase() };
    Ok(Some(Rewrite { from, to, answer_as_asked: auto || kind == "exact", goes_on }))
}

/// The zone of a server block's key, `[dns://]ZONE[:53]`; `None` if it is not plain DNS on port 53.
fn zone_of(key: &str) -> Option<String> {
    let key = key.strip_prefix("dns://").unwrap_or(key);
    if key.contains("://") || key.starts_with('(') {
        return None;
    }
    let zone = match key.rsplit_once(':') {
        Some((zone, "53")) => zone,
        Some(_) => return None,
        None => key,
    };
    Some(absolute(zone))
}

fn fallthrough(zones: &[&str]) -> Vec<String> {
    if zones.is_empty() { vec![".".to_owned()] } else { zones.iter().map(|zone| absolute(zone)).collect() }
}

/// In lower case with its final dot; a network (`10.0.0.0/8`) as its reverse zone is left as it is.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

fn number(line: &Directive, text: &str, most: u32) -> Result<u32, CorefileError> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| wrong(line, &format!("expected a number up to {most}, found `{text}`")))
}

/// Whole seconds of a duration such as `5s`, `1m` or `1m30s`.
fn seconds(text: &str) -> Option<u32> {
    crate::dns::go_duration_s(text)
}

fn wrong(line: &Directive, what: &str) -> CorefileError {
    CorefileError { line: line.line, what: format!("{}: {what}", line.words.join(" ")) }
}
