//! Annotations by which Services choose how their load balancer works.
//!
//! Those that change where packets go are honoured. Others of the cloud's prefix that are known to change nothing here
//! (names, tags, logs, subnets, addresses of the balancer) are passed over; any other one is reported, because it might.
//! Source: cloud-provider-aws "The Service Controller", AWS Load Balancer Controller "Service annotations",
//! cloud-provider-azure "Azure LoadBalancer", GKE "LoadBalancer Service parameters".

use std::collections::BTreeMap;
use std::time::Duration;

use hopwise_engine::Span;
use hopwise_fabric::Idle;

use super::setup::{CheckPort, Kind, Settings};
use crate::profile::{Delivery, HealthPort};

const AWS: &str = "service.beta.kubernetes.io/aws-load-balancer-";
const AZURE: &str = "service.beta.kubernetes.io/azure-";
const GCP: [&str; 3] = ["networking.gke.io/", "cloud.google.com/", "service.kubernetes.io/gce-"];

/// What of an annotation (its name after the prefix) changes nothing that is modelled.
const HARMLESS: [&str; 22] = [
    "additional-resource-tags",
    "access-log-",
    "eip-allocations",
    "extra-security-groups",
    "ip-address-type",
    "load-balancer-name",
    "manage-backend-security-group-rules",
    "name",
    "private-ipv4-addresses",
    "security-groups",
    "security-group-prefix-lists",
    "ssl-",
    "subnets",
    "target-node-labels",
    "pip-",
    "dns-label-name",
    "load-balancer-internal-subnet",
    "load-balancer-resource-group",
    "load-balancer-ipv4",
    "load-balancer-ipv6",
    "network-tier",
    "load-balancer-ip-addresses",
];

/// An annotation that is not followed, and what is taken instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFollowed {
    /// The annotation, with its value.
    pub annotation: String,
    /// What is taken for granted.
    pub assumed: String,
}

/// Changes `settings` as the annotations of a Service ask the cloud of the profile called `profile`.
pub fn apply(
    settings: &mut Settings,
    annotations: &BTreeMap<String, String>,
    profile: &str,
) -> Vec<NotFollowed> {
    let mut not_followed = Vec::new();
    // What kind of target there is comes first: the other ones refine it.
    let (types, others): (Vec<_>, Vec<_>) = annotations.iter().partition(|(key, _)| key.ends_with("type"));
    for (key, value) in types.into_iter().chain(others) {
        let followed = match profile {
            "aws" => key.strip_prefix(AWS).map(|name| aws(settings, name, value)),
            "azure" => key.strip_prefix(AZURE).map(|name| azure(settings, name, value)),
            "gcp" => {
                GCP.iter().find_map(|prefix| key.strip_prefix(prefix)).map(|name| gcp(settings, name, value))
            }
            _ => None,
        };
        if let Some(Err(assumed)) = followed {
            not_followed.push(NotFollowed { annotation: format!("{key}: {value}"), assumed });
        }
    }
    not_followed
}

type Followed = Result<(), String>;

fn aws(settings: &mut Settings, name: &str, value: &str) -> Followed {
    match name {
        "type" => match value {
            "nlb" | "external" => Ok(()),
            "nlb-ip" => to_pods(settings),
            _ => Err("the load balancer is a Network Load Balancer".into()),
        },
        "nlb-target-type" => match value {
            "ip" => to_pods(settings),
            "instance" => {
                settings.delivery = Delivery::NodePort;
                Ok(())
            }
            _ => Err("targets are nodes".into()),
        },
        "scheme" | "internal" => {
            settings.is_internal = matches!(value, "internal" | "true" | "0.0.0.0/0");
            Ok(())
        }
        "cross-zone-load-balancing-enabled" => switch(&mut settings.cross_zone, value),
        "attributes" | "target-group-attributes" => aws_attributes(settings, value),
        "proxy-protocol" => Err("targets receive no PROXY protocol header".into()),
        "healthcheck-interval" => seconds(&mut settings.check.interval, value),
        "healthcheck-timeout" => seconds(&mut settings.check.timeout, value),
        "healthcheck-healthy-threshold" => count(&mut settings.check.healthy_threshold, value),
        "healthcheck-unhealthy-threshold" => count(&mut settings.check.unhealthy_threshold, value),
        "healthcheck-port" if value == "traffic-port" => {
            settings.check.port = CheckPort::Port(HealthPort::Traffic);
            Ok(())
        }
        "healthcheck-port" if value == "10256" => {
            settings.check.port = CheckPort::Port(HealthPort::KubeProxy);
            Ok(())
        }
        "healthcheck-protocol" if value.eq_ignore_ascii_case("tcp") => Ok(()),
        "healthcheck-path" | "healthcheck-success-codes" => Ok(()),
        _ => harmless(name),
    }
}

/// Pod targets do not see the client's address unless an attribute says so (docs.aws.amazon.com, NLB target groups:
/// client IP preservation is off for target type ip with TCP).
fn to_pods(settings: &mut Settings) -> Followed {
    settings.delivery = Delivery::Pod;
    settings.keeps_source = false;
    settings.check.port = CheckPort::Port(HealthPort::Traffic);
    Ok(())
}

/// `key=value,key=value`.
fn aws_attributes(settings: &mut Settings, value: &str) -> Followed {
    let mut unknown = Vec::new();
    for (key, value) in value.split(',').filter_map(|pair| pair.trim().split_once('=')) {
        let done = match key {
            "load_balancing.cross_zone.enabled" => switch(&mut settings.cross_zone, value),
            "preserve_client_ip.enabled" => switch(&mut settings.keeps_source, value),
            "deregistration_delay.timeout_seconds" => span(&mut settings.deregistration_delay, value, 1),
            "deregistration_delay.connection_termination.enabled" => {
                switch(&mut settings.terminates_deregistered, value)
            }
            "target_health_state.unhealthy.connection_termination.enabled" => {
                switch(&mut settings.terminates_unhealthy, value)
            }
            "tcp.idle_timeout.seconds" => span(&mut settings.idle_timeout, value, 1),
            "deletion_protection.enabled" => Ok(()),
            _ if key.starts_with("access_logs.") => Ok(()),
            _ => Err(String::new()),
        };
        if done.is_err() {
            unknown.push(format!("{key}={value}"));
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(format!("{} changes nothing", unknown.join(", "))) }
}

fn azure(settings: &mut Settings, name: &str, value: &str) -> Followed {
    match name {
        "load-balancer-internal" => switch(&mut settings.is_internal, value),
        "load-balancer-tcp-idle-timeout" => span(&mut settings.idle_timeout, value, 60),
        "load-balancer-disable-tcp-reset" => {
            settings.idle = if value == "true" { Idle::Drop } else { Idle::Reset };
            Ok(())
        }
        "disable-load-balancer-floating-ip" if value == "true" => {
            (settings.kind, settings.delivery) = (Kind::Nat, Delivery::NodePort);
            Ok(())
        }
        "disable-load-balancer-floating-ip" => Ok(()),
        "load-balancer-health-probe-interval" => seconds(&mut settings.check.interval, value),
        "load-balancer-health-probe-num-of-probe" => {
            count(&mut settings.check.unhealthy_threshold, value)?;
            count(&mut settings.check.healthy_threshold, value)
        }
        "load-balancer-health-probe-request-path" => Ok(()),
        _ => harmless(name),
    }
}

fn gcp(settings: &mut Settings, name: &str, value: &str) -> Followed {
    match name {
        "load-balancer-type" => {
            settings.is_internal = value.eq_ignore_ascii_case("internal");
            Ok(())
        }
        "l4-rbs" | "neg" | "neg-status" | "backend-config" | "app-protocols" => Ok(()),
        _ => harmless(name),
    }
}

fn harmless(name: &str) -> Followed {
    let known = HARMLESS.iter().any(|known| match known.strip_suffix('-') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *known,
    });
    if known { Ok(()) } else { Err("it changes nothing about where packets go".into()) }
}

fn switch(setting: &mut bool, value: &str) -> Followed {
    *setting = value.trim().parse().map_err(|_| format!("it is {setting}, as the profile has it"))?;
    Ok(())
}

fn count(setting: &mut u32, value: &str) -> Followed {
    let number: u32 = value.trim().parse().map_err(|_| format!("it is {setting}, as the profile has it"))?;
    *setting = number.max(1);
    Ok(())
}

fn seconds(setting: &mut Duration, value: &str) -> Followed {
    let mut number = u32::try_from(setting.as_secs()).unwrap_or(u32::MAX);
    count(&mut number, value)?;
    *setting = Duration::from_secs(u64::from(number));
    Ok(())
}

/// A number of `unit` seconds each.
fn span(setting: &mut Span, value: &str, unit: u64) -> Followed {
    let number: u32 = value.trim().parse().map_err(|_| "it is as the profile has it".to_owned())?;
    *setting = Span::from_secs(u64::from(number).saturating_mul(unit));
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;
    use crate::profile::Profile;

    fn with(profile: &str, annotations: &[(&str, &str)]) -> (Settings, Vec<NotFollowed>) {
        let balancer = Profile::named(profile).expect("embedded").load_balancer;
        let mut settings = Settings::of_profile(&balancer, &Service::default());
        let annotations =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let not_followed = apply(&mut settings, &annotations, profile);
        (settings, not_followed)
    }

    #[test]
    fn what_changes_the_way_of_packets_is_followed() {
        let target_type = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
        let cross_zone = "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled";
        let (settings, none) = with("aws", &[(target_type, "ip"), (cross_zone, "true")]);
        assert_eq!(
            (settings.delivery, settings.keeps_source, settings.cross_zone),
            (Delivery::Pod, false, true)
        );
        assert_eq!(none, []);
        let attributes = "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes";
        let value =
            "preserve_client_ip.enabled=true, deregistration_delay.timeout_seconds=5,stickiness.enabled=true";
        let (settings, rest) = with("aws", &[(target_type, "ip"), (attributes, value)]);
        assert!(settings.keeps_source);
        assert_eq!(settings.deregistration_delay, Span::from_secs(5));
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].assumed, "stickiness.enabled=true changes nothing");
        let floating = "service.beta.kubernetes.io/azure-disable-load-balancer-floating-ip";
        let idle = "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout";
        let (settings, none) = with("azure", &[(floating, "true"), (idle, "30")]);
        assert_eq!((settings.kind, settings.idle_timeout), (Kind::Nat, Span::from_secs(1_800)));
        assert_eq!(none, []);
        let (settings, _) = with("gcp", &[("networking.gke.io/load-balancer-type", "Internal")]);
        assert!(settings.is_internal);
    }

    #[test]
    fn an_unknown_one_of_the_cloud_is_reported_and_those_of_others_are_not() {
        let unknown = "service.beta.kubernetes.io/aws-load-balancer-quantum-routing";
        let name = "service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags";
        let annotations = [(unknown, "on"), (name, "a=b"), ("example.com/other", "x")];
        let (settings, rest) = with("aws", &annotations);
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].annotation, format!("{unknown}: on"));
        assert_eq!(settings, with("aws", &[]).0);
        assert_eq!(with("bare-metal", &annotations).1, []);
    }

    #[test]
    fn a_value_that_is_none_leaves_the_setting() {
        let interval = "service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval";
        let (settings, rest) = with("aws", &[(interval, "often")]);
        assert_eq!(settings.check.interval, Duration::from_secs(30));
        assert_eq!(rest[0].assumed, "it is 30, as the profile has it");
    }
}
