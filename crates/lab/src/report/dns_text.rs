//! `hopwise dns` for people: each query, what came back and why, then what it cost.

use std::fmt::Write as _;

use super::dns::{DnsQuery, DnsReport};
use super::paper::{Paper, Tone};
use super::units::{count, time};

/// The report as text.
pub fn dns_text(report: &DnsReport, paper: Paper) -> String {
    let mut out = String::new();
    let course = &report.course;
    let search = if course.search.is_empty() {
        "no search list".to_owned()
    } else {
        format!("search {}; ndots {}", course.search.join(" "), course.ndots)
    };
    let _ = writeln!(out, "{} from {} ({} resolver; {search})", course.name, course.from, course.resolver);
    let mut last = "";
    for (index, query) in report.queries.iter().enumerate() {
        write_query(&mut out, index + 1, query, last, paper);
        last = &query.why;
    }
    summary(&mut out, report, paper);
    out.trim_end().to_owned()
}

fn write_query(out: &mut String, number: usize, query: &DnsQuery, last: &str, paper: Paper) {
    let (word, tone) = match query.rcode.as_str() {
        "NOERROR" if query.answers.is_empty() => ("NODATA", Tone::Doubtful),
        "NOERROR" => ("NOERROR", Tone::Good),
        other => (other, Tone::Bad),
    };
    let head = format!("#{number} {} {}", query.name, query.r#type);
    let _ = writeln!(
        out,
        "\n{}  {}  ({})",
        paper.paint(&head, Tone::Strong),
        paper.paint(word, tone),
        query.server
    );
    for record in query.answers.iter().chain(&query.additional) {
        let _ = writeln!(out, "     {record}");
    }
    if query.why == last {
        paper.paragraph(out, "  why: ", "as before");
    } else if !query.why.is_empty() {
        paper.paragraph(out, "  why: ", &query.why);
    }
}

fn summary(out: &mut String, report: &DnsReport, paper: Paper) {
    let course = &report.course;
    let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let (word, tone) = match course.resolved {
        true if addresses.is_empty() => ("found".to_owned(), Tone::Good),
        true => (addresses.join(", "), Tone::Good),
        false => ("does not resolve".to_owned(), Tone::Bad),
    };
    let _ = writeln!(out, "\n{}: {}", course.name, paper.paint(&word, tone));
    let queries = match report.queries.len() {
        0 => "no query".to_owned(),
        1 => "1 query".to_owned(),
        number => format!("{number} queries"),
    };
    let _ = writeln!(out, "{queries} in {}, {}", count(report.rounds(), "round"), time(course.elapsed_ns));
    for advice in &course.advice {
        paper.paragraph(out, "hint: ", advice);
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns::Course;
    use super::*;

    fn query(name: &str, kind: &str, rcode: &str, answers: &[&str], why: &str) -> DnsQuery {
        DnsQuery {
            name: name.to_owned(),
            r#type: kind.to_owned(),
            rcode: rcode.to_owned(),
            answers: answers.iter().map(ToString::to_string).collect(),
            authority: Vec::new(),
            additional: Vec::new(),
            server: "10.96.0.10".to_owned(),
            why: why.to_owned(),
        }
    }

    #[test]
    fn each_query_says_why_and_the_end_says_what_it_cost() {
        let report = DnsReport {
            queries: vec![
                query(
                    "a.b.demo.svc.cluster.local.",
                    "A",
                    "NXDOMAIN",
                    &[],
                    "NXDOMAIN: there is no Service demo/b",
                ),
                query(
                    "a.b.demo.svc.cluster.local.",
                    "AAAA",
                    "NXDOMAIN",
                    &[],
                    "NXDOMAIN: there is no Service demo/b",
                ),
                query("a.b.", "A", "NOERROR", &["a.b. 30 A 192.0.2.1"], "a name outside the cluster"),
                query("a.b.", "AAAA", "NOERROR", &[], "NODATA: the name exists (A)"),
            ],
            addresses: vec![[192, 0, 2, 1].into()],
            course: Course {
                name: "a.b".to_owned(),
                from: "in-cluster".to_owned(),
                resolver: "glibc".to_owned(),
                search: vec!["demo.svc.cluster.local".to_owned()],
                ndots: 5,
                elapsed_ns: 1_234_567,
                resolved: true,
                advice: vec!["write `a.b.` with its final dot".to_owned()],
            },
        };
        insta::assert_snapshot!(dns_text(&report, Paper::default()), @r"
        a.b from in-cluster (glibc resolver; search demo.svc.cluster.local; ndots 5)

        #1 a.b.demo.svc.cluster.local. A  NXDOMAIN  (10.96.0.10)
          why: NXDOMAIN: there is no Service demo/b

        #2 a.b.demo.svc.cluster.local. AAAA  NXDOMAIN  (10.96.0.10)
          why: as before

        #3 a.b. A  NOERROR  (10.96.0.10)
             a.b. 30 A 192.0.2.1
          why: a name outside the cluster

        #4 a.b. AAAA  NODATA  (10.96.0.10)
          why: NODATA: the name exists (A)

        a.b: 192.0.2.1
        4 queries in 2 rounds, 1.235 ms
        hint: write `a.b.` with its final dot
        ");
    }
}
