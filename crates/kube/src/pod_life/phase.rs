//! Whether a container that has ended starts again, and what phase that puts its pod in.
//!
//! Source: kubernetes.md 1.8; the Kubernetes page "Pod Lifecycle" (restartPolicy, pod phase).

/// What happens to containers that end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// They start again.
    #[default]
    Always,
    /// They start again after a failure.
    OnFailure,
    /// They do not.
    Never,
}

impl RestartPolicy {
    /// As manifests call it; `Always` by default.
    pub fn named(name: Option<&str>) -> RestartPolicy {
        match name {
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        }
    }

    /// Whether a container that has ended with this code starts again.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// How far a container is, as the phase of its pod asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not been started yet.
    NotStarted,
    /// It runs.
    Running,
    /// It has ended with this code.
    Ended(i32),
}

/// The phase of a pod whose init containers are done, from its containers (sidecars left out).
pub fn phase(policy: RestartPolicy, containers: &[Progress]) -> &'static str {
    if containers.contains(&Progress::NotStarted) || containers.is_empty() {
        return "Pending";
    }
    let ended_for_good = |it: &Progress| matches!(it, Progress::Ended(code) if !policy.restarts(*code));
    if !containers.iter().all(ended_for_good) {
        return "Running";
    }
    let failed = containers.iter().any(|it| *it != Progress::Ended(0));
    if failed { "Failed" } else { "Succeeded" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Progress::{Ended, NotStarted, Running};

    #[test]
    fn phases_follow_the_restart_policy() {
        use RestartPolicy::{Always, Never, OnFailure};
        for (policy, containers, expected) in [
            (Always, vec![NotStarted, Running], "Pending"),
            (Always, vec![Running, Running], "Running"),
            (Always, vec![Ended(0), Ended(0)], "Running"),
            (OnFailure, vec![Ended(0), Ended(1)], "Running"),
            (OnFailure, vec![Ended(0), Ended(0)], "Succeeded"),
            (Never, vec![Ended(0), Running], "Running"),
            (Never, vec![Ended(0), Ended(137)], "Failed"),
            (Never, vec![Ended(0), Ended(0)], "Succeeded"),
        ] {
            assert_eq!(phase(policy, &containers), expected, "{policy:?} {containers:?}");
        }
    }

    #[test]
    fn only_failures_are_restarted_on_failure() {
        assert!(RestartPolicy::named(None).restarts(0));
        assert!(RestartPolicy::named(Some("OnFailure")).restarts(1));
        assert!(!RestartPolicy::named(Some("OnFailure")).restarts(0));
        assert!(!RestartPolicy::named(Some("Never")).restarts(1));
    }
}
