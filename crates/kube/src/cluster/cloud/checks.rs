//! A load balancer looks after its targets: checks at their times, and the end of those that leave.

use std::rc::Rc;

use hopwise_engine::{HostId, host};
use k8s_openapi::api::core::v1::Service;

use super::health::Event;
use super::pool::Member;
use super::setup::{CheckPlan, CheckPort};
use super::{announce, publish};
use crate::cluster::health_check::{self, Check};
use crate::cluster::health_server::HEALTHZ_PORT;
use crate::cluster::state::Shared;
use crate::profile::{Delivery, HealthPort};
use crate::proxy::ServiceName;

/// Checks the targets of one instance, which `host` belongs to, for as long as it exists.
pub async fn run(shared: Rc<Shared>, name: ServiceName, host: HostId) {
    let delay = of_instance(&shared, &name, host, |instance| instance.settings.registration_delay);
    let Some(delay) = delay else { return };
    tokio::time::sleep(delay.into()).await;
    loop {
        let now = hopwise_engine::now();
        let Some((targets, plan, delivery)) = of_instance(&shared, &name, host, |instance| {
            let settings = &instance.settings;
            (instance.registry.to_check(now), settings.check, settings.delivery)
        }) else {
            return;
        };
        for (target, member) in targets {
            let Some(check) = check_of(&shared, &name, &plan, delivery, &member) else { continue };
            let result = host::spawn_on(host, health_check::perform(check, member.address, plan.timeout));
            let (shared, name) = (shared.clone(), name.clone());
            host::spawn_on(shared.control_plane, async move {
                if let Ok(passed) = result.await {
                    count(&shared, &name, host, &target, passed);
                }
            });
        }
        tokio::time::sleep(plan.interval).await;
    }
}

/// Ends the flows of targets whose time to leave is over.
pub async fn see_off(shared: Rc<Shared>, name: ServiceName, host: HostId) {
    loop {
        let next = of_instance(&shared, &name, host, |instance| instance.registry.next_leave()).flatten();
        let Some(next) = next else { return };
        let now = hopwise_engine::now();
        if next > now {
            tokio::time::sleep((next - now).into()).await;
            continue;
        }
        of_instance(&shared, &name, host, |instance| {
            for (target, address) in instance.registry.left(now) {
                if instance.settings.terminates_deregistered {
                    instance.cut_off(address);
                }
                hopwise_engine::notable("load_balancer.target_left", format!("load balancer {name}"), target);
            }
        });
    }
}

fn count(shared: &Shared, name: &ServiceName, host: HostId, target: &str, passed: bool) {
    let changed = of_instance(shared, name, host, |instance| {
        let plan = &instance.settings.check;
        let event =
            instance.registry.count(target, passed, (plan.healthy_threshold, plan.unhealthy_threshold))?;
        if let Event::Unhealthy(_, address) = &event
            && instance.settings.terminates_unhealthy
        {
            instance.cut_off(*address);
        }
        Some(event)
    });
    match changed.flatten() {
        Some(event) => note(name, &[event]),
        // A first look that fails may be all that is known, and decide who receives flows.
        None if passed => return,
        None => {}
    }
    refresh(shared, name);
}

/// Tells the log what happened to targets.
pub fn note(name: &ServiceName, events: &[Event]) {
    for event in events {
        let (kind, target) = match event {
            Event::Healthy(target) => ("load_balancer.target_healthy", target),
            Event::Unhealthy(target, _) => ("load_balancer.target_unhealthy", target),
            Event::Deregistered(target) => ("load_balancer.target_deregistered", target),
        };
        hopwise_engine::notable(kind, format!("load balancer {name}"), target.clone());
    }
}

/// Lets new flows go to the targets that there are now.
pub fn refresh(shared: &Shared, name: &ServiceName) {
    let addresses = {
        let mut balancers = shared.balancers.borrow_mut();
        let Some(instance) = balancers.get_mut(name) else { return };
        let with_targets = instance.apply();
        if instance.announced.is_some() {
            drop(balancers);
            announce(shared, name);
            return;
        }
        // A zone without a target leaves the name (docs.aws.amazon.com, NLB: DNS failover); if all are, it stays.
        if with_targets.is_empty() || with_targets == instance.published {
            return;
        }
        instance.published.clone_from(&with_targets);
        with_targets
    };
    publish::addresses(shared, name, &addresses);
}

/// What is asked of a target; nothing if there is no such port.
fn check_of(
    shared: &Shared,
    name: &ServiceName,
    plan: &CheckPlan,
    delivery: Delivery,
    member: &Member,
) -> Option<Check> {
    let service = || shared.api.read(|store| store.get::<Service>(&name.namespace, &name.name).cloned());
    let first_port = || member.ports.values().next().copied();
    match plan.port {
        CheckPort::Alive(port) => Some(Check::Alive(port)),
        CheckPort::Port(_) if delivery == Delivery::Pod => first_port().map(Check::Connect),
        CheckPort::Port(HealthPort::KubeProxy) => Some(Check::Http(HEALTHZ_PORT)),
        CheckPort::Port(HealthPort::HealthCheckNodePort) => {
            let port = service()?.spec.as_ref()?.health_check_node_port;
            Some(Check::Http(port.and_then(|port| u16::try_from(port).ok()).unwrap_or(HEALTHZ_PORT)))
        }
        CheckPort::Port(HealthPort::Traffic) if delivery == Delivery::NodePort => {
            first_port().map(Check::Connect)
        }
        CheckPort::Port(HealthPort::Traffic) => {
            let service = service()?;
            let port = service.spec.as_ref()?.ports.iter().flatten().find_map(|port| port.node_port)?;
            u16::try_from(port).ok().map(Check::Connect)
        }
    }
}

/// Something of the instance that `host` belongs to; `None` if it is gone.
fn of_instance<R>(
    shared: &Shared,
    name: &ServiceName,
    host: HostId,
    f: impl FnOnce(&mut super::Instance) -> R,
) -> Option<R> {
    let mut balancers = shared.balancers.borrow_mut();
    balancers.get_mut(name).filter(|instance| instance.host == host).map(f)
}
