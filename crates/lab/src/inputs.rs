//! What a simulation is made from: manifests, a cluster description and a profile, read and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hopwise_kube::admission::{self, Refused, Rejection};
use hopwise_kube::cluster_file::ClusterFile;
use hopwise_kube::manifest::Manifests;
use hopwise_kube::profile::Profile;
use hopwise_kube::source::{FileError, LoadErrors, Source};

use crate::scenario::{ObjectKind, ObjectName};

/// Inputs that can be simulated.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The objects that the API server takes.
    pub manifests: Manifests,
    /// Nodes, networks and names.
    pub cluster: ClusterFile,
    /// Latencies, load balancers and prices.
    pub profile: Profile,
    /// The objects that the API server rejects; they are not in `manifests`.
    pub rejections: Vec<Rejection>,
}

/// What may be said about a cluster beside the manifests.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The cluster file, if there is one.
    pub cluster: Option<Source>,
    /// How many nodes, where the cluster file names none.
    pub nodes: Option<u16>,
    /// The profile, where the cluster file names none or this one is to be taken instead.
    pub profile: Option<String>,
}

/// Why inputs cannot be simulated.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InputError {
    /// A manifest, cluster or scenario file is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadErrors),
    /// A file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// A directory stands where one file is expected.
    #[error("{}: expected a file, got a directory", path.display())]
    #[diagnostic(help("give the path of one YAML or JSON file"))]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// There is no such profile, or an override does not fit it.
    #[error("{0}")]
    Profile(String),
}

impl Inputs {
    /// Reads manifests and what surrounds them.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(manifests: &[Source], surroundings: &Surroundings) -> Result<Inputs, InputError> {
        let manifests = Manifests::load(manifests)?;
        let cluster = match &surroundings.cluster {
            Some(source) => ClusterFile::load(source)?,
            None => ClusterFile::default(),
        };
        Inputs::of(manifests, cluster, surroundings)
    }

    /// Puts loaded manifests and a loaded cluster file together.
    ///
    /// # Errors
    /// If the profile is not known or its overrides do not fit.
    pub fn of(
        mut manifests: Manifests,
        mut cluster: ClusterFile,
        surroundings: &Surroundings,
    ) -> Result<Inputs, InputError> {
        cluster.add_nodes(surroundings.nodes.unwrap_or_else(|| nodes_needed(&manifests)));
        let name = surroundings.profile.as_deref().or(cluster.profile.as_deref()).unwrap_or("bare-metal");
        let profile =
            Profile::named(name).map_err(|error| profile_error(&cluster, "profile", &error.to_string()))?;
        let profile = profile
            .with_overrides(&cluster.overrides)
            .map_err(|error| profile_error(&cluster, "overrides", &error.to_string()))?;
        let rejections = admission::admit(&manifests, admission::NODE_PORTS_DEFAULT);
        drop_rejected(&mut manifests, &rejections);
        Ok(Inputs { manifests, cluster, profile, rejections })
    }
}

impl Inputs {
    /// Gives StatefulSets other numbers of replicas; those that are not there are left out.
    pub fn scale(&mut self, replicas: &BTreeMap<ObjectName, u32>) {
        for set in &mut self.manifests.stateful_sets {
            let namespace = set.namespace.as_deref().unwrap_or("default");
            let name = ObjectName::new(ObjectKind::StatefulSet, namespace, &set.name);
            if let (Some(spec), Some(wanted)) = (set.value.spec.as_mut(), replicas.get(&name)) {
                spec.replicas = Some(i32::try_from(*wanted).unwrap_or(i32::MAX));
            }
        }
    }
}

fn profile_error(cluster: &ClusterFile, field: &str, what: &str) -> InputError {
    match cluster.error(field, what, "the profiles and their numbers are in crates/kube/profiles") {
        Some(error) => InputError::Load(error.into()),
        None => InputError::Profile(what.to_owned()),
    }
}

/// As many nodes as the largest StatefulSet needs (the command line's default), and one at least.
fn nodes_needed(manifests: &Manifests) -> u16 {
    let replicas = |set: &k8s_openapi::api::apps::v1::StatefulSet| {
        set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    };
    let most = manifests.stateful_sets.iter().map(|set| replicas(&set.value)).max().unwrap_or(1);
    u16::try_from(most.clamp(1, 1000)).unwrap_or(1)
}

/// `kubectl apply` creates what the API server takes and goes on after what it rejects.
fn drop_rejected(manifests: &mut Manifests, rejections: &[Rejection]) {
    let rejected = |reference: &hopwise_kube::manifest::ObjectRef| {
        rejections.iter().any(|it| it.refused == Refused::Object && it.object == *reference)
    };
    macro_rules! keep_accepted {
        ($($list:ident),*) => { $(manifests.$list.retain(|object| !rejected(&object.reference()));)* };
    }
    keep_accepted!(
        pods,
        stateful_sets,
        deployments,
        services,
        config_maps,
        secrets,
        persistent_volume_claims,
        persistent_volumes,
        storage_classes,
        namespaces,
        pod_disruption_budgets,
        network_policies,
        endpoint_slices,
        endpoints
    );
}
