//! `rpk cluster health` inside a container: the Admin API's health overview, asked over the fabric.
//!
//! Source: redpanda.md 1.6 (probes), 3 (`/v1/cluster/health_overview`); rpk's configuration, section `rpk.admin_api`.

use hopwise_security::tls::ClientSettings;
use serde_json::Value;

use super::curl::{HttpRequest, ask};
use crate::shell::{Files, Outcome};

/// Where rpk reads which brokers there are.
const CONFIG_PATH: &str = "/etc/redpanda/redpanda.yaml";
/// Whom it asks when nothing says otherwise.
const ADDRESS_DEFAULT: &str = "127.0.0.1:9644";

/// The Admin APIs that rpk may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `HOST:PORT`.
    pub addresses: Vec<String>,
    /// The files of TLS, if rpk uses it.
    pub tls: Option<AdminTls>,
}

/// `rpk.admin_api.tls`: paths of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminTls {
    truststore: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    insecure: bool,
}

impl AdminTls {
    fn of(section: &Value) -> Option<AdminTls> {
        let text = |key: &str| section[key].as_str().filter(|path| !path.is_empty()).map(ToOwned::to_owned);
        section.is_object().then(|| AdminTls {
            truststore: text("truststore_file").or_else(|| text("ca_file")),
            certificate: text("cert_file"),
            key: text("key_file"),
            insecure: section["insecure_skip_verify"].as_bool().unwrap_or(false),
        })
    }

    fn settings(&self, files: &Files) -> ClientSettings {
        let file = |path: &Option<String>| path.as_ref().and_then(|path| files.get(path).cloned());
        ClientSettings {
            authorities: file(&self.truststore),
            any_server: self.insecure,
            identity: file(&self.certificate).zip(file(&self.key)),
            ..ClientSettings::default()
        }
    }
}

impl Admin {
    /// Reads the arguments of `rpk cluster health`, and rpk's configuration.
    ///
    /// # Errors
    /// Another command, or an option that is not understood.
    pub fn of_cluster_health(args: &[String], files: &Files) -> Result<Admin, String> {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let ["cluster", "health", options @ ..] = words.as_slice() else {
            return Err(format!("the command '{}' is not understood", words.join(" ")));
        };
        let configured = || configured(files);
        let given = match options {
            [] => return Ok(configured()),
            ["-X", setting] => setting.strip_prefix("admin.hosts="),
            ["--api-urls", urls] => Some(*urls),
            [option] => option.strip_prefix("-Xadmin.hosts=").or_else(|| option.strip_prefix("--api-urls=")),
            _ => None,
        };
        let given = given.ok_or_else(|| format!("the options '{}' are not understood", options.join(" ")))?;
        let addresses = given.split(',').map(|it| it.trim().to_owned()).collect();
        Ok(Admin { addresses, tls: configured().tls })
    }
}

fn configured(files: &Files) -> Admin {
    let text = files.get(CONFIG_PATH).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
    let config: Value = serde_saphyr::from_str(text).unwrap_or(Value::Null);
    let admin = &config["rpk"]["admin_api"];
    let listed = admin["addresses"].as_array().into_iter().flatten();
    let mut addresses: Vec<String> = listed.filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect();
    if addresses.is_empty() {
        addresses.push(ADDRESS_DEFAULT.into());
    }
    Admin { addresses, tls: AdminTls::of(&admin["tls"]) }
}

/// Asks the brokers in turn until one answers; prints what rpk prints of it.
pub async fn cluster_health(admin: &Admin, files: &Files) -> Outcome {
    let scheme = if admin.tls.is_some() { "https" } else { "http" };
    let trust = admin.tls.as_ref().map(|tls| tls.settings(files)).unwrap_or_default();
    for address in &admin.addresses {
        let url = format!("{scheme}://{address}/v1/cluster/health_overview");
        let Ok(uri) = url.parse() else { continue };
        let request =
            HttpRequest { method: hyper::Method::GET, uri, headers: Vec::new(), trust: trust.clone() };
        if let Ok((200, body)) = ask(&request).await
            && let Ok(overview) = serde_json::from_slice::<Value>(&body)
        {
            return Outcome::success(printed(&overview));
        }
    }
    Outcome::failure(1, "unable to request cluster health")
}

fn printed(overview: &Value) -> String {
    let list = |field: &str| {
        let items = overview[field].as_array().into_iter().flatten();
        let items: Vec<String> = items.map(|it| it.to_string().replace('"', "")).collect();
        format!("[{}]", items.join(" "))
    };
    let healthy = overview["is_healthy"].as_bool().unwrap_or(false);
    let mut lines = vec!["CLUSTER HEALTH OVERVIEW".to_owned(), "=======================".to_owned()];
    let entries = [
        ("Healthy:", healthy.to_string()),
        ("Unhealthy reasons:", list("unhealthy_reasons")),
        ("Controller ID:", overview["controller_id"].to_string()),
        ("All nodes:", list("all_nodes")),
        ("Nodes down:", list("nodes_down")),
    ];
    lines.extend(entries.map(|(name, value)| format!("{name:<34}{value}")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_come_from_options_or_from_rpks_configuration() {
        let words = |line: &str| line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        let config = "rpk: {admin_api: {addresses: ['a:1', 'b:2'], tls: {truststore_file: /ca}}}";
        let files = Files::from([(CONFIG_PATH.to_owned(), config.as_bytes().to_vec())]);
        let admin = |line, files: &Files| Admin::of_cluster_health(&words(line), files);
        let tls = AdminTls { truststore: Some("/ca".to_owned()), ..AdminTls::default() };
        let of = |addresses: &[&str], tls| {
            Ok(Admin { addresses: addresses.iter().map(ToString::to_string).collect(), tls })
        };
        assert_eq!(admin("cluster health", &files), of(&["a:1", "b:2"], Some(tls.clone())));
        assert_eq!(admin("cluster health", &Files::new()), of(&[ADDRESS_DEFAULT], None));
        assert_eq!(admin("cluster health -X admin.hosts=c:3", &Files::new()), of(&["c:3"], None));
        assert!(admin("cluster info", &files).is_err());
        assert!(admin("cluster health --watch --x", &files).is_err());
    }

    #[test]
    fn what_is_printed_says_whether_the_cluster_is_healthy() {
        let overview = serde_json::json!({"is_healthy": true, "controller_id": 1, "all_nodes": [0, 1]});
        let text = printed(&overview);
        let expected = "Healthy:                          true";
        assert!(text.lines().any(|line| line == expected), "{text}");
        assert!(printed(&Value::Null).contains("Healthy:                          false"));
    }
}
