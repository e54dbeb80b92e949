//! Liveness: when all faults are over, every client's requests are served again within a stated bound.
//!
//! Nothing is promised before that, nor ever if a fault is never undone. A client that did all its work by then has
//! nothing left to show. One whose place is gone (its pod deleted, its machine off for good) is told apart: nobody can
//! serve it.

use hopwise_client::Operation;
use hopwise_engine::{Span, Time};

use super::{Rule, Seen};
use crate::scenario::Duration;

pub(in super::super) const RULE: Rule = Rule {
    name: "progress",
    promise: "after the last fault is over every client's requests are served again in time",
    follows: "the liveness phase of simulation testing (heal, then demand progress), and Java's delivery.timeout.ms",
    advice: "Look at what the client asked last and of whom; `bounds.progress` says how long it may take.",
};

/// One kind of a client's requests.
#[derive(Clone, Debug)]
pub(in super::super) struct Course {
    pub client: String,
    pub operation: Operation,
    /// From one request to the next.
    pub interval: Span,
    /// When requests were served, in any order.
    pub served: Vec<Time>,
    /// When the last one had ended; none if it never did.
    pub done: Option<Time>,
    /// Whether the client's place is there at the end.
    pub place_is_there: bool,
}

/// Compares the courses with the time at which the last fault was over. The workload was watched until `end`.
pub(in super::super) fn check(courses: &[Course], healed: Time, bound: Duration, end: Time) -> Seen {
    let mut seen = Seen::default();
    for course in courses {
        // The next request may not be due before its interval is over.
        let latest = healed + bound.span() + course.interval;
        if course.done.is_some_and(|done| done <= latest) {
            seen.well();
            continue;
        }
        if !course.place_is_there {
            seen.apart
                .push(format!("{}'s place is gone, and its {} with it", course.client, course.operation));
            continue;
        }
        let next = course.served.iter().filter(|at| **at > healed).min();
        if next.is_none() && end < latest {
            let (client, operation) = (&course.client, course.operation);
            seen.apart
                .push(format!("the run ended at {end}, before {client}'s {operation} had to be served"));
            continue;
        }
        seen.unless(next.is_some_and(|next| *next <= latest), || {
            let when = next.map_or_else(|| "none was".to_owned(), |next| format!("the first was at {next}"));
            let last = course.served.iter().filter(|at| **at <= healed).max();
            let last = last.map_or_else(|| "never".to_owned(), |last| format!("at {last}"));
            format!(
                "{}'s {} was to be served by {latest} (all faults were over at {healed}); {when}, and before that it was served \
                 last {last}",
                course.client, course.operation
            )
        });
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::sample::at;
    use super::*;

    fn course(served: &[u64], done: Option<u64>, place_is_there: bool) -> Course {
        Course {
            client: "a".to_owned(),
            operation: Operation::Produce,
            interval: Span::from_secs(1),
            served: served.iter().copied().map(at).collect(),
            done: done.map(at),
            place_is_there,
        }
    }

    fn judged(course: Course, end: u64) -> Seen {
        check(&[course], at(100), Duration(Span::from_secs(20)), at(end))
    }

    #[test]
    fn a_client_that_is_served_in_time_or_done_is_well() {
        for course in
            [course(&[5, 121], None, true), course(&[5], Some(60), true), course(&[], Some(121), true)]
        {
            let seen = judged(course, 300);
            assert_eq!((seen.examined, seen.violations, seen.apart.len()), (1, 0, 0), "{seen:?}");
        }
    }

    #[test]
    fn a_client_that_is_served_late_or_never_is_told() {
        let late = judged(course(&[5, 122], None, true), 300).first.expect("one is told");
        assert!(
            late.contains("a's produce was to be served by") && late.contains("served last at"),
            "{late}"
        );
        let never = judged(course(&[], None, true), 300).first.expect("one is told");
        assert!(never.contains("none was, and before that it was served last never"), "{never}");
    }

    #[test]
    fn a_client_without_a_place_and_a_run_that_ends_early_are_told_apart() {
        for (place, end, words) in [(false, 300, "a's place is gone"), (true, 110, "the run ended at")] {
            let seen = judged(course(&[5], None, place), end);
            assert_eq!((seen.examined, seen.violations), (0, 0));
            assert!(seen.apart[0].starts_with(words), "{:?}", seen.apart);
        }
    }
}
