//! A pod's volumes and what each container sees of them.
//!
//! ConfigMaps, Secrets, downward-API and projected volumes are read-only copies; an `emptyDir` lives as long as
//! its pod and is shared by its containers; a PersistentVolumeClaim is a disk that outlives the pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{KeyToPath, PodSpec, Volume, VolumeMount};

use super::environment::{MissingReference, Surroundings};
use super::programs::Disk;

type Files = BTreeMap<String, Vec<u8>>;

/// The volumes of one pod, by name.
#[derive(Default)]
pub struct PodVolumes {
    volumes: BTreeMap<String, Content>,
}

enum Content {
    /// Files; kept between containers if `writable`.
    Files {
        files: Files,
        writable: bool,
    },
    Disk(Disk),
}

/// What one container sees.
#[derive(Default)]
pub struct Mounted {
    /// Files by their path in the container.
    pub files: Files,
    /// Disks by their path in the container.
    pub disks: BTreeMap<String, Disk>,
}

impl PodVolumes {
    /// The volumes of a pod. `disk_of` finds the disk behind a claim's name.
    ///
    /// # Errors
    /// The first ConfigMap or claim that is missing.
    pub fn of(
        spec: &PodSpec,
        surroundings: &Surroundings<'_>,
        disk_of: impl Fn(&str) -> Option<Disk>,
    ) -> Result<PodVolumes, MissingReference> {
        let mut volumes = BTreeMap::new();
        for volume in spec.volumes.iter().flatten() {
            volumes.insert(volume.name.clone(), content_of(volume, surroundings, &disk_of)?);
        }
        Ok(PodVolumes { volumes })
    }

    /// What a container with these mounts sees.
    pub fn mounted(&self, mounts: &[VolumeMount]) -> Mounted {
        let mut mounted = Mounted::default();
        for mount in mounts {
            let base = mount.mount_path.trim_end_matches('/');
            match self.volumes.get(&mount.name) {
                Some(Content::Disk(disk)) => {
                    mounted.disks.insert(base.to_owned(), disk.clone());
                }
                Some(Content::Files { files, .. }) => {
                    mounted
                        .files
                        .extend(visible(files, mount).map(|(path, content)| (path, content.clone())));
                }
                None => {}
            }
        }
        mounted
    }

    /// Keeps what a container with these mounts has left in writable volumes.
    pub fn keep(&mut self, mounts: &[VolumeMount], left: &Files) {
        for mount in mounts {
            let Some(Content::Files { files, writable: true }) = self.volumes.get_mut(&mount.name) else {
                continue;
            };
            let base = format!("{}/", mount.mount_path.trim_end_matches('/'));
            let sub_path = mount.sub_path.as_deref().map(|path| format!("{path}/")).unwrap_or_default();
            *files = left
                .iter()
                .filter_map(|(path, content)| Some((path.strip_prefix(&base)?, content)))
                .map(|(path, content)| (format!("{sub_path}{path}"), content.clone()))
                .collect();
        }
    }
}

/// The files of a volume at their paths under a mount, `subPath` applied.
fn visible<'a>(files: &'a Files, mount: &'a VolumeMount) -> impl Iterator<Item = (String, &'a Vec<u8>)> {
    let base = mount.mount_path.trim_end_matches('/');
    let sub_path = mount.sub_path.as_deref().filter(|path| !path.is_empty());
    files.iter().filter_map(move |(path, content)| match sub_path {
        None => Some((format!("{base}/{path}"), content)),
        Some(sub_path) if path == sub_path => Some((base.to_owned(), content)),
        Some(sub_path) => {
            let rest = path.strip_prefix(sub_path)?.strip_prefix('/')?;
            Some((format!("{base}/{rest}"), content))
        }
    })
}

fn content_of(
    volume: &Volume,
    surroundings: &Surroundings<'_>,
    disk_of: &impl Fn(&str) -> Option<Disk>,
) -> Result<Content, MissingReference> {
    let read_only = |files| Content::Files { files, writable: false };
    if let Some(source) = &volume.config_map {
        let files = surroundings.config_map_files(&source.name, source.optional.unwrap_or(false))?;
        return Ok(read_only(selected(files, source.items.as_deref())));
    }
    if let Some(source) = &volume.secret {
        let files = surroundings.secret_files(source.secret_name.as_deref().unwrap_or(""));
        return Ok(read_only(selected(files, source.items.as_deref())));
    }
    if let Some(source) = &volume.persistent_volume_claim {
        let disk =
            disk_of(&source.claim_name).ok_or_else(|| MissingReference::Claim(source.claim_name.clone()))?;
        return Ok(Content::Disk(disk));
    }
    if let Some(source) = &volume.projected {
        let mut files = Files::new();
        for source in source.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let all = surroundings.config_map_files(&map.name, map.optional.unwrap_or(false))?;
                files.extend(selected(all, map.items.as_deref()));
            }
            if let Some(secret) = &source.secret {
                files.extend(selected(surroundings.secret_files(&secret.name), secret.items.as_deref()));
            }
        }
        return Ok(read_only(files));
    }
    Ok(Content::Files { files: Files::new(), writable: true })
}

fn selected(files: Files, items: Option<&[KeyToPath]>) -> Files {
    match items {
        None => files,
        Some(items) => {
            items.iter().filter_map(|item| Some((item.path.clone(), files.get(&item.key)?.clone()))).collect()
        }
    }
}
