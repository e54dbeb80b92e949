//! Load balancers that are down, come and go, are slow to take targets in, or forget flows.

use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::{Span, host};

use super::OperationError;
use crate::cluster::state::Shared;
use crate::cluster::{Cluster, cloud};
use crate::proxy::ServiceName;

impl Cluster {
    /// Takes the load balancer of a Service down: what is sent to it vanishes, and it checks no target.
    ///
    /// # Errors
    /// If the Service has none; [`OperationError::AlreadySo`] if it is down.
    pub fn stop_load_balancer(&self, namespace: &str, service: &str) -> Result<(), OperationError> {
        self.end_flapping(namespace, service);
        set_down(&self.shared, &name(namespace, service), true)
    }

    /// Brings it up again, and ends what [`Cluster::flap_load_balancer`] has begun.
    ///
    /// # Errors
    /// If the Service has none; [`OperationError::AlreadySo`] if it is up.
    pub fn start_load_balancer(&self, namespace: &str, service: &str) -> Result<(), OperationError> {
        self.end_flapping(namespace, service);
        set_down(&self.shared, &name(namespace, service), false)
    }

    /// Lets it be down and up in turn, first down, until it is started or stopped.
    ///
    /// # Errors
    /// If the Service has none.
    pub fn flap_load_balancer(
        &self,
        namespace: &str,
        service: &str,
        down: Duration,
        up: Duration,
    ) -> Result<(), OperationError> {
        let name = name(namespace, service);
        self.of_balancer(&name, |_| ())?;
        self.end_flapping(namespace, service);
        let (shared, flapping) = (Rc::downgrade(&self.shared), name.clone());
        let task = host::spawn_on(self.shared.control_plane, async move {
            for turn in [true, false].into_iter().cycle() {
                let Some(shared) = shared.upgrade() else { return };
                // A load balancer that is gone, or is so already, is let be.
                let _ = set_down(&shared, &flapping, turn);
                drop(shared);
                tokio::time::sleep(if turn { down } else { up }).await;
            }
        });
        self.shared.flapping.borrow_mut().insert(name, task);
        Ok(())
    }

    /// Lets targets that register from now on take `by` longer until they are checked.
    ///
    /// # Errors
    /// If the Service has no load balancer.
    pub fn slow_registration(&self, namespace: &str, service: &str, by: Span) -> Result<(), OperationError> {
        let name = name(namespace, service);
        self.of_balancer(&name, |instance| instance.extra_registration = by)?;
        let detail = format!("by {} ms", by.as_nanos() / 1_000_000);
        hopwise_engine::notable("load_balancer.registers_slowly", format!("load balancer {name}"), detail);
        Ok(())
    }

    /// Ends the flows of a load balancer as those are ended that were silent for too long.
    ///
    /// # Errors
    /// If the Service has none.
    pub fn expire_load_balancer_flows(&self, namespace: &str, service: &str) -> Result<(), OperationError> {
        let name = name(namespace, service);
        self.of_balancer(&name, |instance| instance.expire_flows())?;
        hopwise_engine::notable("load_balancer.flows_expired", format!("load balancer {name}"), "");
        Ok(())
    }

    fn end_flapping(&self, namespace: &str, service: &str) {
        if let Some(task) = self.shared.flapping.borrow_mut().remove(&name(namespace, service)) {
            task.abort();
        }
    }

    fn of_balancer<R>(
        &self,
        name: &ServiceName,
        f: impl FnOnce(&mut cloud::Instance) -> R,
    ) -> Result<R, OperationError> {
        self.shared.balancers.borrow_mut().get_mut(name).map(f).ok_or_else(|| no_balancer(name))
    }
}

fn set_down(shared: &Shared, name: &ServiceName, down: bool) -> Result<(), OperationError> {
    match cloud::set_down(shared, name, down) {
        None => return Err(no_balancer(name)),
        Some(false) => {
            let is = if down { "down" } else { "up" };
            return Err(OperationError::AlreadySo(format!("the load balancer of {name} is {is} already")));
        }
        Some(true) => {}
    }
    let kind = if down { "load_balancer.down" } else { "load_balancer.up" };
    hopwise_engine::notable(kind, format!("load balancer {name}"), "");
    Ok(())
}

fn name(namespace: &str, service: &str) -> ServiceName {
    ServiceName { namespace: namespace.to_owned(), name: service.to_owned() }
}

fn no_balancer(name: &ServiceName) -> OperationError {
    OperationError::Refused(format!("the Service {name} has no load balancer"))
}
