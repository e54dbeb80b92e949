//! The smallest part of a list that still has a property, by delta debugging (Zeller and Hildebrandt, "Simplifying and
//! Isolating Failure-Inducing Input", 2002): first halves and what remains without them, then ever smaller parts.

/// A part of `items` for which `holds` is true, and of which no single item can be left out (unless `holds` says so by
/// giving up early). `items` itself has to hold.
pub fn minimal<T: Clone>(items: &[T], mut holds: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    if kept.is_empty() || holds(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while kept.len() > 1 {
        match smaller(&kept, parts, &mut holds) {
            Some((smaller, next)) => (kept, parts) = (smaller, next),
            None if parts >= kept.len() => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

/// The first part, or rest without a part, that holds, and into how many parts it is cut next.
fn smaller<T: Clone>(
    kept: &[T],
    parts: usize,
    holds: &mut impl FnMut(&[T]) -> bool,
) -> Option<(Vec<T>, usize)> {
    let size = kept.len().div_ceil(parts);
    let part = kept.chunks(size).find(|part| part.len() < kept.len() && holds(part));
    if let Some(part) = part {
        return Some((part.to_vec(), 2));
    }
    // Of two parts, the rest without the one is the other.
    if kept.len().div_ceil(size) <= 2 {
        return None;
    }
    let rest = |start: usize| [&kept[..start], &kept[(start + size).min(kept.len())..]].concat();
    let starts = (0..kept.len()).step_by(size);
    let found = starts.map(rest).find(|rest| holds(rest));
    found.map(|rest| (rest, (parts - 1).max(2)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_holds_for_nothing_needs_nothing() {
        assert_eq!(minimal(&[1, 2, 3], |_| true), Vec::<i32>::new());
    }

    #[test]
    fn one_culprit_among_many_is_found_in_few_attempts() {
        let items: Vec<u32> = (0..20).collect();
        let mut attempts = 0;
        let found = minimal(&items, |part| {
            attempts += 1;
            part.contains(&13)
        });
        assert_eq!(found, [13]);
        assert!(attempts <= 20, "{attempts}");
    }

    proptest! {
        #[test]
        fn exactly_the_needed_items_are_kept_in_order(size in 1..30_usize, picks in proptest::collection::btree_set(0..30_usize, 1..5)) {
            let needed: Vec<usize> = picks.into_iter().filter(|pick| *pick < size).collect();
            let items: Vec<usize> = (0..size).collect();
            let found = minimal(&items, |part| needed.iter().all(|item| part.contains(item)));
            prop_assert_eq!(found, needed);
        }
    }
}
