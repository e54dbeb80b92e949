//! Findings: what is wrong, where, why, and what to change.
//!
//! Three parts: the catalogue of codes, the linter (rules over facts about the cluster that need no simulation), and
//! the diagnosis of routes that a simulation tried and that failed. All are pure functions of plain data.

mod catalogue;
pub mod diagnosis;
pub mod facts;
pub mod lint;

use serde::{Deserialize, Serialize};

pub use catalogue::{Code, Entry, Example};
pub use facts::Position;

/// Something that is wrong or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// `Kind namespace/name` of the object to look at.
    pub object: String,
    /// The field in it, if one is to blame.
    pub field: Option<String>,
    /// The file that holds the object, if one does.
    pub file: Option<String>,
    /// The line in the file, counted from one.
    pub line: Option<u32>,
    /// The kind in a few words.
    pub title: String,
    /// What happens, where and why, with names and numbers.
    pub explanation: String,
    /// What to change.
    pub fix: String,
    /// Indexes of the routes that it explains.
    pub routes: Vec<usize>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Some client cannot do its work, or the cluster cannot start.
    Error,
    /// It works now and will break when something else changes.
    Warning,
    /// Worth knowing.
    Note,
}

impl Finding {
    /// A finding about `object` with the catalogue's severity and fix.
    pub fn new(code: Code, object: impl Into<String>, explanation: impl Into<String>) -> Finding {
        let entry = code.entry();
        Finding {
            code,
            severity: entry.severity,
            object: object.into(),
            field: None,
            file: None,
            line: None,
            title: entry.title.to_owned(),
            explanation: explanation.into(),
            fix: entry.fix.to_owned(),
            routes: Vec::new(),
        }
    }

    /// With the field that is to blame.
    pub fn field(mut self, field: impl Into<String>) -> Finding {
        self.field = Some(field.into());
        self
    }

    /// With the place in a file.
    pub fn at(mut self, position: Option<&Position>) -> Finding {
        if let Some(position) = position {
            self.file = Some(position.file.clone());
            self.line = Some(position.line);
        }
        self
    }

    /// With a fix that names what to change in this very case.
    pub fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = fix.into();
        self
    }

    /// With another severity than the catalogue's.
    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }
}

impl Severity {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Sorts findings for a report: the worst first, then by code and object; equal ones become one with all routes.
pub fn arrange(mut findings: Vec<Finding>) -> Vec<Finding> {
    let key = |finding: &Finding| {
        (
            finding.severity,
            finding.code,
            finding.object.clone(),
            finding.field.clone(),
            finding.explanation.clone(),
        )
    };
    findings.sort_by_cached_key(key);
    findings.dedup_by(|later, kept| {
        let same = key(later) == key(kept);
        if same {
            kept.routes.append(&mut later.routes);
            kept.routes.sort_unstable();
            kept.routes.dedup();
        }
        same
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_findings_become_one_and_the_worst_come_first() {
        let mut first = Finding::new(Code::NodeWithoutEndpoint, "Service a/b", "why");
        first.routes = vec![4];
        let mut second = first.clone();
        second.routes = vec![1, 4];
        let note = Finding::new(Code::SecurityNotMeasured, "Listener x", "why");
        let arranged = arrange(vec![note.clone(), first.clone(), second]);
        assert_eq!(arranged.len(), 2);
        assert_eq!(arranged[0].routes, [1, 4]);
        assert_eq!(arranged[1], note);
    }

    #[test]
    fn the_json_is_what_the_command_line_promises() {
        let finding = Finding::new(Code::BarePodNameAdvertised, "StatefulSet default/redpanda", "why")
            .field("spec")
            .at(Some(&Position { file: "a.yaml".into(), line: 3 }))
            .fix("change it");
        insta::assert_snapshot!(serde_json::to_string(&finding).expect("plain data"), @r#"{"code":"HW0001","severity":"error","object":"StatefulSet default/redpanda","field":"spec","file":"a.yaml","line":3,"title":"A bare pod name is advertised","explanation":"why","fix":"change it","routes":[]}"#);
        let text = serde_json::to_string(&finding).expect("plain data");
        assert_eq!(serde_json::from_str::<Finding>(&text).expect("the same"), finding);
    }
}
