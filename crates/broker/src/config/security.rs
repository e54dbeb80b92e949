//! TLS entries, and the cluster properties about who may do what.

use std::path::PathBuf;

use hopwise_security::tls::MinVersion;

use super::ConfigError;
use super::build::{BOOTSTRAP, line, wrong};
use super::file::{BootstrapYaml, Tls};
use super::listener::TlsFiles;
use crate::security::principal_mapping::PrincipalRules;

/// The properties of the first start that decide who may do what.
#[derive(Clone, Debug)]
pub struct SecurityProperties {
    /// Families of SASL mechanisms that Kafka listeners offer: `SCRAM`, `PLAIN`.
    pub sasl_mechanisms: Vec<String>,
    /// Users that may do everything.
    pub superusers: Vec<String>,
    /// Whether the Admin API asks who its clients are.
    pub admin_api_require_auth: bool,
    /// Whether access rules are looked at: the property itself, or else whether SASL is on (redpanda.md 2.1).
    pub kafka_enable_authorization: bool,
    /// How the subject of a client's certificate becomes a user.
    pub(crate) principal_rules: PrincipalRules,
}

pub(super) fn properties(file: &BootstrapYaml) -> Result<SecurityProperties, ConfigError> {
    let problem = |field: &str, problem: String, expected: &str| ConfigError::Field {
        file: BOOTSTRAP,
        line: None,
        field: field.to_owned(),
        problem,
        expected: expected.to_owned(),
    };
    let mechanisms = file.sasl_mechanisms.clone().unwrap_or_else(|| vec!["SCRAM".to_owned()]);
    let known = ["SCRAM", "PLAIN", "GSSAPI", "OAUTHBEARER"];
    if let Some(other) = mechanisms.iter().find(|name| !known.contains(&name.as_str())) {
        let expected = "use SCRAM, PLAIN, GSSAPI or OAUTHBEARER";
        return Err(problem("sasl_mechanisms", format!("\"{other}\" is not a mechanism"), expected));
    }
    let rules = file.kafka_mtls_principal_mapping_rules.clone().unwrap_or_default();
    let rules = PrincipalRules::parse(&rules).map_err(|error| {
        let expected = "use DEFAULT or RULE:pattern/replacement/ with L or U at its end";
        problem("kafka_mtls_principal_mapping_rules", error, expected)
    })?;
    Ok(SecurityProperties {
        sasl_mechanisms: mechanisms,
        superusers: file.superusers.clone().unwrap_or_default(),
        admin_api_require_auth: file.admin_api_require_auth == Some(true),
        kafka_enable_authorization: file.kafka_enable_authorization.unwrap_or(file.enable_sasl == Some(true)),
        principal_rules: rules,
    })
}

/// The version that the cluster property asks for. Versions below 1.2 are not spoken; they mean 1.2.
pub(super) fn min_version(file: &BootstrapYaml) -> Result<MinVersion, ConfigError> {
    let Some(text) = &file.tls_min_version else { return Ok(MinVersion::Tls12) };
    version(text).ok_or_else(|| ConfigError::Field {
        file: BOOTSTRAP,
        line: None,
        field: "tls_min_version".to_owned(),
        problem: format!("\"{text}\" is not a version"),
        expected: VERSIONS.to_owned(),
    })
}

const VERSIONS: &str = "use v1.0, v1.1, v1.2 or v1.3";

fn version(text: &str) -> Option<MinVersion> {
    match text {
        "v1.0" | "v1.1" | "v1.2" => Some(MinVersion::Tls12),
        "v1.3" => Some(MinVersion::Tls13),
        _ => None,
    }
}

/// The files of a TLS entry; `None` if it is off.
pub(super) fn tls_files(
    field: &str,
    tls: Option<&Tls>,
    min_version: MinVersion,
) -> Result<Option<TlsFiles>, ConfigError> {
    let Some(tls) = tls.filter(|tls| tls.enabled == Some(true)) else { return Ok(None) };
    let file = |key: &str, path: &Option<String>| {
        let path = path.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from);
        let expected = "name the mounted file, for instance /etc/tls/certs/default/tls.crt";
        path.ok_or_else(|| wrong(format!("{field}.{key}"), None, "TLS is on without it", expected))
    };
    let truststore = tls.truststore_file.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from);
    let require_client_certificate = tls.require_client_auth == Some(true);
    if require_client_certificate && truststore.is_none() {
        return Err(wrong(
            format!("{field}.truststore_file"),
            None,
            "client certificates are required and nobody is trusted to have signed them",
            "name the file with the authority of the clients",
        ));
    }
    let min_version = match &tls.min_tls_version {
        None => min_version,
        Some(text) => version(&text.value).ok_or_else(|| {
            let problem = format!("\"{}\" is not a version", text.value);
            wrong(format!("{field}.min_tls_version"), line(text), problem, VERSIONS)
        })?,
    };
    Ok(Some(TlsFiles {
        certificate: file("cert_file", &tls.cert_file)?,
        key: file("key_file", &tls.key_file)?,
        truststore,
        require_client_certificate,
        min_version,
    }))
}
