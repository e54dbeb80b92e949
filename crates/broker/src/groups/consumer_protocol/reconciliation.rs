//! How a member gets from what it has to what it is to have: first it gives up what is not its any more, then it
//! gets what is free, and the rest when others have given it up.
//!
//! Source: KIP-848, "Member Assignment and Reconciliation".

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Assignment;

/// Where a member is on its way to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has all of its target, as far as it knows.
    #[default]
    Stable = 1,
    /// It has been told to give partitions up and has not said that it did.
    Unrevoked = 2,
    /// Others have not given up yet what it is to get.
    Unreleased = 3,
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Current {
    /// The target's epoch that the member has come to; -2 for a static member that is away for a while.
    pub epoch: i32,
    /// The one before, with which it may come once more if it did not get the last answer.
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Assignment,
    /// What it is to give up.
    pub revoking: Assignment,
}

impl Current {
    /// Whether it has come to the target of this epoch.
    pub fn is_reconciled(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// The partitions that nobody else may have.
    pub fn holds(&self) -> impl Iterator<Item = (Uuid, i32)> {
        partitions(&self.assigned).chain(partitions(&self.revoking))
    }

    fn at(&self, epoch: i32, state: MemberState, assigned: Assignment, revoking: Assignment) -> Current {
        let moved = epoch != self.epoch;
        let previous_epoch = if moved { self.epoch } else { self.previous_epoch };
        Current { epoch, previous_epoch, state, assigned, revoking }
    }
}

/// What a member is to come to.
pub(crate) struct Target<'a> {
    pub epoch: i32,
    pub assignment: &'a Assignment,
}

/// The member's next step, or where it is if it has to wait.
///
/// `owned` is what the member says that it has, where it says so; `is_taken` tells whether somebody holds a
/// partition.
pub(crate) fn reconcile(
    current: &Current,
    target: &Target<'_>,
    owned: Option<&Assignment>,
    is_taken: impl Fn((Uuid, i32)) -> bool,
) -> Current {
    match current.state {
        MemberState::Stable if current.epoch == target.epoch => current.clone(),
        MemberState::Unrevoked if still_owns(owned, &current.revoking) => current.clone(),
        // It has given up what it was to; that takes it to the next epoch at least.
        MemberState::Unrevoked => next(current, current.epoch + 1, target, owned, is_taken),
        MemberState::Stable | MemberState::Unreleased => {
            next(current, current.epoch, target, owned, is_taken)
        }
    }
}

fn next(
    current: &Current,
    epoch: i32,
    target: &Target<'_>,
    owned: Option<&Assignment>,
    is_taken: impl Fn((Uuid, i32)) -> bool,
) -> Current {
    let wanted: BTreeSet<_> = partitions(target.assignment).collect();
    let has: BTreeSet<_> = partitions(&current.assigned).collect();
    let revoking = collect(has.difference(&wanted));
    let kept = has.intersection(&wanted);
    if !revoking.is_empty() && still_owns(owned, &revoking) {
        return current.at(epoch, MemberState::Unrevoked, collect(kept), revoking);
    }
    let (taken, free): (Vec<_>, Vec<_>) =
        wanted.difference(&has).partition(|partition| is_taken(**partition));
    let state = if taken.is_empty() { MemberState::Stable } else { MemberState::Unreleased };
    current.at(target.epoch, state, collect(kept.chain(free)), Assignment::new())
}

/// Whether the member may still have one of these; one that does not say what it has may.
fn still_owns(owned: Option<&Assignment>, revoking: &Assignment) -> bool {
    let Some(owned) = owned else { return true };
    partitions(revoking).any(|(topic, index)| owned.get(&topic).is_some_and(|owned| owned.contains(&index)))
}

/// Every partition of an assignment.
pub(crate) fn partitions(assignment: &Assignment) -> impl Iterator<Item = (Uuid, i32)> {
    assignment.iter().flat_map(|(topic, indexes)| indexes.iter().map(|index| (*topic, *index)))
}

/// An assignment of these partitions.
pub(crate) fn collect<'a>(partitions: impl IntoIterator<Item = &'a (Uuid, i32)>) -> Assignment {
    let mut assignment = Assignment::new();
    for (topic, index) in partitions {
        assignment.entry(*topic).or_default().insert(*index);
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(1);

    fn of(indexes: &[i32]) -> Assignment {
        collect(&indexes.iter().map(|index| (TOPIC, *index)).collect::<Vec<_>>())
    }

    fn current(epoch: i32, state: MemberState, assigned: &[i32], revoking: &[i32]) -> Current {
        Current { epoch, previous_epoch: epoch - 1, state, assigned: of(assigned), revoking: of(revoking) }
    }

    fn step(current: &Current, target: &[i32], owned: Option<&[i32]>, taken: &[i32]) -> Current {
        let assignment = of(target);
        let target = Target { epoch: 5, assignment: &assignment };
        reconcile(current, &target, owned.map(of).as_ref(), |(_, index)| taken.contains(&index))
    }

    #[test]
    fn a_member_gives_up_before_it_gets() {
        let before = current(4, MemberState::Stable, &[0, 1], &[]);
        let told = step(&before, &[1, 2], None, &[]);
        assert_eq!((told.epoch, told.state), (4, MemberState::Unrevoked));
        assert_eq!((told.assigned.clone(), told.revoking.clone()), (of(&[1]), of(&[0])));
        assert_eq!(step(&told, &[1, 2], None, &[]), told, "it does not say what it has");
        assert_eq!(step(&told, &[1, 2], Some(&[0, 1]), &[]), told, "it still has it");
        let done = step(&told, &[1, 2], Some(&[1]), &[]);
        assert_eq!((done.epoch, done.previous_epoch, done.state), (5, 4, MemberState::Stable));
        assert_eq!((done.assigned, done.revoking), (of(&[1, 2]), of(&[])));
    }

    #[test]
    fn what_others_have_comes_when_they_have_given_it_up() {
        let joined = current(0, MemberState::Stable, &[], &[]);
        let waits = step(&joined, &[0, 1], Some(&[]), &[0]);
        assert_eq!(
            (waits.epoch, waits.state, waits.assigned.clone()),
            (5, MemberState::Unreleased, of(&[1]))
        );
        assert_eq!(step(&waits, &[0, 1], None, &[0, 1]), waits);
        let whole = step(&waits, &[0, 1], None, &[1]);
        assert_eq!((whole.state, whole.assigned), (MemberState::Stable, of(&[0, 1])));
    }

    #[test]
    fn a_target_that_moves_on_meanwhile_is_met_from_where_the_member_is() {
        let told = current(3, MemberState::Unrevoked, &[1], &[0]);
        let again = step(&told, &[2], Some(&[1]), &[]);
        assert_eq!((again.epoch, again.state), (4, MemberState::Unrevoked), "1 is to go as well");
        assert_eq!((again.assigned.clone(), again.revoking.clone()), (of(&[]), of(&[1])));
        let done = step(&again, &[2], Some(&[]), &[]);
        assert_eq!((done.epoch, done.state, done.assigned), (5, MemberState::Stable, of(&[2])));
    }

    #[test]
    fn a_member_that_is_there_stays() {
        let there = current(5, MemberState::Stable, &[0], &[]);
        assert_eq!(step(&there, &[1], None, &[]), there, "the target's epoch is the member's");
    }
}
