//! Cases about the bookkeeping of revisions.

use hopwise_kube::controllers::stateful_set::Gates;

use super::format::{Expect, Revisions, Set};
use super::world::{World, set_image};
use crate::case::{Difference, equal};

/// Makes the revisions that exist by passes over their templates in order, then one pass over the template of the
/// case, with a pod that does not become ready: an update is not complete at once.
pub fn run(revisions: &Revisions, expect: &Expect) -> Result<(), Difference> {
    let mut world = World::new(&Set::default(), Gates::default(), "datadir");
    let pass = |world: &mut World| {
        world.reconcile().1.map_err(|error| Difference::new("requests that succeed", error.to_string()))
    };
    for template in &revisions.existing_in_order {
        set_image(&mut world.set, template);
        pass(&mut world)?;
    }
    let known = world.objects.revisions.keys().find(|name| {
        revisions.status_current.as_ref().is_some_and(|current| world.revision(Some(name)) == *current)
    });
    let current = known.cloned();
    equal(&revisions.status_current.is_some(), &current.is_some())?;
    world.set.status.get_or_insert_default().current_revision = current;
    world.set.spec.get_or_insert_default().replicas = Some(1);
    set_image(&mut world.set, &revisions.spec_template);
    pass(&mut world)?;
    let status = world.set.status.clone().unwrap_or_default();
    equal(&expect.revision_count, &Some(world.objects.revisions.len()))?;
    equal(&expect.current, &Some(world.revision(status.current_revision.as_ref())))?;
    equal(&expect.update, &Some(world.revision(status.update_revision.as_ref())))
}
