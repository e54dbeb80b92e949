//! What a test holds: the running cluster, and places in it where client code runs.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hopwise_engine::host;
use hopwise_fabric::net::resolver::ResolverKind;
use hopwise_kube::cluster::{ClientSite, Cluster, PlaceError};
use hopwise_lab::check::brokers_of;
use hopwise_lab::inputs::Inputs;
use hopwise_lab::place::{NoPlace, Place};
use hopwise_lab::report::check::{Api, Broker};
use hopwise_lab::simulate::Started;
use tokio::task::JoinHandle;

use super::panics::{self, Panicked};

/// The cluster that a test runs in. Clones are the same cluster.
#[derive(Clone)]
pub struct Lab(Rc<Inner>);

struct Inner {
    started: Started,
    inputs: Inputs,
}

/// There is no such place, or nothing can stand there.
#[derive(Debug, thiserror::Error)]
pub enum AtError {
    /// The word names no place.
    #[error(transparent)]
    Word(#[from] NoPlace),
    /// Nothing can stand there.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// A place where client code runs: a host of its own, with that place's network, names and routes.
#[derive(Clone, Debug)]
pub struct Site {
    place: Place,
    site: ClientSite,
}

/// Client code that runs at a [`Site`]; a future of what it gives.
#[derive(Debug)]
pub struct Running<T> {
    place: Place,
    task: JoinHandle<Result<T, Panicked>>,
}

/// The client code was stopped before it ended: its pod or its node is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Where it ran.
    pub place: Place,
}

impl Lab {
    pub(super) fn new(started: Started, inputs: Inputs) -> Lab {
        Lab(Rc::new(Inner { started, inputs }))
    }

    pub(super) fn started(&self) -> &Started {
        &self.0.started
    }

    /// A new host at a place: `external`, `external=IP`, `pod/NAMESPACE/NAME`, `node/NAME` or `in-cluster` (a pod that is
    /// added). Two hosts at one place share its network and nothing else.
    ///
    /// # Errors
    /// A word that names no place, a pod that does not run, a node that is not there.
    pub async fn at(&self, place: &str) -> Result<Site, AtError> {
        let place: Place = place.parse()?;
        let site = self.cluster().place(&place, &format!("client at {place}")).await?;
        Ok(Site { place, site })
    }

    /// The brokers as they are now: ids, pods, nodes, and every listener with the address that it advertises.
    pub fn brokers(&self) -> Vec<Broker> {
        brokers_of(&self.0.inputs, &self.0.started)
    }

    /// The addresses, `host:port`, that the brokers advertise on the Kafka listener of this name, in the order of their ids.
    pub fn advertised(&self, listener: &str) -> Vec<String> {
        let brokers = self.brokers();
        let listeners = brokers.iter().flat_map(|broker| &broker.listeners);
        let named = listeners.filter(|it| it.api == Api::Kafka && it.name == listener);
        named.filter_map(|it| it.advertised.clone()).collect()
    }

    /// The cluster, with everything that can be done to it.
    pub fn cluster(&self) -> &Cluster {
        &self.0.started.cluster
    }

    /// The seed of this run, for randomness of the test's own.
    pub fn seed(&self) -> u64 {
        hopwise_engine::seed()
    }
}

impl Site {
    /// Runs `code` here and gives what it gives.
    ///
    /// # Panics
    /// If `code` panics, or its pod or node goes away before it ends; [`Site::spawn`] tells instead.
    pub async fn run<F>(&self, code: F) -> F::Output
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        match self.spawn(code).await {
            Ok(output) => output,
            Err(stopped) => panic!("{stopped}"),
        }
    }

    /// Starts `code` here. It runs on if the answer is dropped.
    pub fn spawn<F>(&self, code: F) -> Running<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let task = host::spawn_on(self.site.host, panics::caught(code));
        Running { place: self.place.clone(), task }
    }

    /// Whose resolver the code uses: glibc's, unless this says otherwise.
    pub fn use_resolver(&self, kind: ResolverKind) {
        self.site.use_resolver(kind);
    }

    /// Where this is.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Stopped>;

    /// # Panics
    /// With the panic of the code.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.task).poll(cx)) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(panicked)) => panics::resume(panicked),
            Err(_) => Err(Stopped { place: self.place.clone() }),
        })
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client code at {} was stopped: its pod or its node is gone", self.place)
    }
}

impl std::error::Error for Stopped {}
