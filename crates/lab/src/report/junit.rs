//! Reports as JUnit XML, which CI systems show: each check of a run, and each route of a `check`, is a test case.
//!
//! There are no times in it: what a simulation takes in virtual time is no time of a test, and the machine's time would
//! make two runs of one seed differ.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::check::{CheckReport, Route};
use super::replay;
use super::run::RunReport;
use crate::findings::{Finding, Severity};

/// A run: a test case per check. What explains failures is in each of them.
///
/// # Errors
/// If the XML cannot be written, which is a matter of memory.
pub fn run_junit(report: &RunReport, scenario_file: &str) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(report.scenario.as_str());
    suite.add_property(("seed", report.seed.to_string().as_str()));
    suite.add_property(("trace_hash", report.trace_hash.as_str()));
    let explained = explain(report.findings.iter());
    for check in &report.checks {
        let status = match check.ok {
            true => TestCaseStatus::success(),
            false => failure(&check.detail, &format!("{}\n{explained}", check.detail)),
        };
        let mut case = TestCase::new(check.name.as_str(), status);
        case.set_classname(report.scenario.as_str());
        suite.add_test_case(case);
    }
    suite.set_system_out(format!("replay: {}", replay(scenario_file, report.seed)));
    whole("hopwise run", suite)
}

/// A check: a test case per route, and one per finding that is an error and explains no route.
///
/// # Errors
/// As [`run_junit`].
pub fn check_junit(report: &CheckReport) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new("routes");
    for (index, route) in report.routes.iter().enumerate() {
        let explained = explain(report.findings.iter().filter(|finding| finding.routes.contains(&index)));
        let outcome = route.outcome.as_str();
        let status = match route.outcome.is_failure() {
            false => TestCaseStatus::success(),
            true => failure(&format!("{outcome}: {}", route.address), &explained),
        };
        let mut case = TestCase::new(title(route), status);
        case.set_classname(route.from.to_string());
        suite.add_test_case(case);
    }
    let alone = |finding: &&Finding| finding.severity == Severity::Error && finding.routes.is_empty();
    for finding in report.findings.iter().filter(alone) {
        let status = failure(&finding.title, &explain(std::iter::once(finding)));
        let mut case = TestCase::new(format!("{} {}", finding.code, finding.object), status);
        case.set_classname("findings");
        suite.add_test_case(case);
    }
    whole("hopwise check", suite)
}

/// What a route is, in words.
fn title(route: &Route) -> String {
    let Route { api, listener, broker, address, .. } = route;
    format!("{} {listener} of broker {broker} at {address}", api.as_str())
}

fn failure(message: &str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(message).set_description(description.trim_end());
    status
}

fn explain<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let tell = |finding: &Finding| {
        let Finding { code, title, object, explanation, fix, .. } = finding;
        let field = finding.field.as_ref().map(|field| format!(": {field}")).unwrap_or_default();
        format!("{code} {title}\n{object}{field}\n{explanation}\nfix: {fix}\n")
    };
    findings.map(tell).collect()
}

fn whole(name: &str, suite: TestSuite) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new(name);
    report.add_test_suite(suite);
    report.to_string()
}
