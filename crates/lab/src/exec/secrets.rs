//! Secrets as files for a program: a client that stands anywhere needs the authority of the brokers' certificates, or a
//! certificate of its own, as a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hopwise_kube::cluster::Cluster;
use hopwise_kube::source::nearest;
use hopwise_namespace::Directory;
use k8s_openapi::api::core::v1::Secret;

/// A Secret and where the program finds its keys as files: `NAMESPACE/NAME=DIRECTORY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFiles {
    namespace: String,
    name: String,
    directory: PathBuf,
}

/// The text names no Secret and directory.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` names no Secret and directory; expected `NAMESPACE/NAME=DIRECTORY`, such as `redpanda/root=/mnt`"
)]
pub struct NoSecretFiles(String);

impl FromStr for SecretFiles {
    type Err = NoSecretFiles;

    fn from_str(text: &str) -> Result<Self, NoSecretFiles> {
        let error = || NoSecretFiles(text.to_owned());
        let (secret, directory) = text.split_once('=').ok_or_else(error)?;
        match secret.split_once('/') {
            Some((namespace, name)) if ![namespace, name, directory].contains(&"") && !name.contains('/') => {
                Ok(SecretFiles {
                    namespace: namespace.into(),
                    name: name.into(),
                    directory: directory.into(),
                })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for SecretFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}={}", self.namespace, self.name, self.directory.display())
    }
}

/// The directories that programs find.
///
/// # Errors
/// What is not there, a Secret or a directory, in words.
pub(super) fn directories(cluster: &Cluster, secrets: &[SecretFiles]) -> Result<Vec<Directory>, String> {
    secrets.iter().map(|secret| directory(cluster, secret)).collect()
}

fn directory(cluster: &Cluster, wanted: &SecretFiles) -> Result<Directory, String> {
    let SecretFiles { namespace, name, directory } = wanted;
    if !directory.is_dir() {
        return Err(format!(
            "{wanted}: {} is no directory of this machine; name one that is there, such as /mnt: only the program sees the \
             Secret's files in it",
            directory.display()
        ));
    }
    cluster.api().read(|store| match store.get::<Secret>(namespace, name) {
        Some(secret) => Ok(Directory { path: directory.clone(), files: files(secret) }),
        None => {
            let known: Vec<String> = store.list::<Secret>().map(|secret| named(secret)).collect();
            let near = nearest(&format!("{namespace}/{name}"), known.iter().map(String::as_str));
            let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Err(format!("{wanted}: there is no such Secret{meant} Known: {}", known.join(", ")))
        }
    })
}

/// What a Secret holds by its keys; what is written as text counts (Kubernetes documentation, "Secrets").
fn files(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    let text =
        secret.string_data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    data.chain(text).collect()
}

fn named(secret: &Secret) -> String {
    let meta = &secret.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_and_its_directory_are_written_as_they_are_read() {
        let text = "redpanda/root=/run/a=b";
        let secret: SecretFiles = text.parse().expect("is one");
        assert_eq!((secret.name.as_str(), secret.directory.to_str()), ("root", Some("/run/a=b")));
        assert_eq!(secret.to_string(), text);
        for text in
            ["root=/mnt", "redpanda/root", "redpanda/root=", "/root=/mnt", "redpanda/=/mnt", "a/b/c=/mnt"]
        {
            assert_eq!(text.parse::<SecretFiles>(), Err(NoSecretFiles(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn text_replaces_data_of_the_same_key() {
        let secret: Secret = serde_json::from_value(serde_json::json!({
            "data": {"a": "AP8=", "b": "AA=="}, "stringData": {"b": "text"},
        }))
        .expect("a Secret");
        let files = files(&secret);
        assert_eq!((files["a"].as_slice(), files["b"].as_slice()), (&[0, 255][..], &b"text"[..]));
    }
}
