//! What a name inside the cluster's domain asks for (CoreDNS, plugin/kubernetes/parse.go).

use super::Reason;

/// A name below the domain, taken apart. All texts are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The domain itself, `svc` or `pod`.
    Top,
    /// `NAMESPACE.svc` or `NAMESPACE.pod`.
    Namespace { namespace: String, pods: bool },
    /// A pod's name.
    Pod { namespace: String, name: String },
    /// A Service, or what lies below it.
    Service { namespace: String, name: String, part: Part },
}

/// What is asked of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Endpoint {
        label: String,
        cluster: Option<String>,
    },
    Port {
        name: String,
        protocol: String,
    },
    /// Endpoints of one zone; `prefer` takes all if there are none.
    Zone {
        zone: String,
        prefer: bool,
    },
}

/// Takes apart the labels left of the domain.
///
/// # Errors
/// Why such a name cannot exist.
pub(super) fn parse(labels: &[String], multicluster: bool, zonal: bool) -> Result<Question, Reason> {
    let Some((kind, rest)) = labels.split_last() else { return Ok(Question::Top) };
    let pods = match kind.as_str() {
        "svc" => false,
        "pod" => true,
        _ => return Err(Reason::NeitherServiceNorPod { label: kind.clone() }),
    };
    let Some((namespace, rest)) = rest.split_last() else { return Ok(Question::Top) };
    let namespace = namespace.clone();
    let Some((name, rest)) = rest.split_last() else { return Ok(Question::Namespace { namespace, pods }) };
    let name = name.clone();
    if pods {
        return if rest.is_empty() {
            Ok(Question::Pod { namespace, name })
        } else {
            Err(Reason::TooManyLabels)
        };
    }
    let part = match rest {
        [] => Part::Whole,
        [label] => Part::Endpoint { label: label.clone(), cluster: None },
        [label, cluster] if multicluster && !label.starts_with('_') && !cluster.starts_with('_') => {
            Part::Endpoint { label: label.clone(), cluster: Some(cluster.clone()) }
        }
        [port, protocol] => Part::Port { name: plain(port), protocol: plain(protocol) },
        [zone, mode, marker] if zonal && marker == "_zone" => match mode.as_str() {
            "pin" => Part::Zone { zone: zone.clone(), prefer: false },
            "prefer" => Part::Zone { zone: zone.clone(), prefer: true },
            _ => return Err(Reason::TooManyLabels),
        },
        _ => return Err(Reason::TooManyLabels),
    };
    Ok(Question::Service { namespace, name, part })
}

fn plain(label: &str) -> String {
    label.strip_prefix('_').unwrap_or(label).to_owned()
}
