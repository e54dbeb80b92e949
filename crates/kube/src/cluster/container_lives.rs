//! When which container's process ran where: what really happened on the machines, whatever the API server's objects say.

use hopwise_engine::Time;

use super::programs::Container;

/// One run of a container's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerLife {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
    /// Name of the node.
    pub node: String,
    /// When it began.
    pub began: Time,
    /// When it ended; none if it runs.
    pub ended: Option<Time>,
}

/// Every run so far, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct ContainerLives(Vec<ContainerLife>);

impl ContainerLives {
    /// The process of a container begins now; its place.
    pub fn begin(&mut self, container: &Container) -> usize {
        self.0.push(ContainerLife {
            namespace: container.namespace.clone(),
            pod: container.pod.clone(),
            uid: container.pod_uid.clone(),
            container: container.name.clone(),
            node: container.node.clone(),
            began: hopwise_engine::now(),
            ended: None,
        });
        self.0.len() - 1
    }

    /// The process at that place has ended now, unless it had before.
    pub fn end(&mut self, place: usize) {
        if let Some(life) = self.0.get_mut(place) {
            life.ended.get_or_insert_with(hopwise_engine::now);
        }
    }

    pub fn all(&self) -> Vec<ContainerLife> {
        self.0.clone()
    }
}
