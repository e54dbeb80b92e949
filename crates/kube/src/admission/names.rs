//! The forms of names.
//!
//! Source: Kubernetes documentation, "Object Names and IDs", "Labels and Selectors"; RFC 1035, RFC 1123,
//! RFC 6335 for port names.

/// A form that names can be required to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label, which starts with a letter.
    Label1035,
    /// RFC 1123 subdomain: labels with dots.
    Subdomain,
    /// IANA service name: the name of a container's port.
    PortName,
    /// Key of a ConfigMap or Secret, which is also a file name.
    DataKey,
}

impl Form {
    /// The form in words, for "expected ...".
    pub fn in_words(self) -> &'static str {
        match self {
            Form::Label => {
                "at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends"
            }
            Form::Label1035 => {
                "at most 63 lower-case letters, digits and `-`, with a letter first and a letter or digit last"
            }
            Form::Subdomain => {
                "at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of each part"
            }
            Form::PortName => {
                "at most 15 lower-case letters, digits and single `-` inside, with at least one letter"
            }
            Form::DataKey => "at most 253 letters, digits, `-`, `_` and `.`, but not `.` or `..`",
        }
    }
}

/// Whether `name` has the form.
pub fn has_form(name: &str, form: Form) -> bool {
    match form {
        Form::Label => is_dns_label(name),
        Form::Label1035 => is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
        Form::Subdomain => is_dns_subdomain(name),
        Form::PortName => is_port_name(name),
        Form::DataKey => is_data_key(name),
    }
}

/// Whether `name` is a DNS label as RFC 1123 has it, in lower case.
pub fn is_dns_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether `name` is a DNS name of such labels. A label of a subdomain may be longer than 63 characters as
/// far as the API server is concerned; only the whole is bounded.
pub fn is_dns_subdomain(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(is_inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_part)
}

/// Whether `value` can be the value of a label.
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_qualified_part(value)
}

/// Whether `key` can be the key of a label or annotation: a name, or a DNS subdomain, `/` and a name.
pub fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified_part(name),
        None => is_qualified_part(key),
    }
}

fn is_qualified_part(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = name.as_bytes();
    name.len() <= 63 && is_end(bytes.first()) && is_end(bytes.last()) && name.bytes().all(is_inner)
}

fn is_port_name(name: &str) -> bool {
    name.len() <= 15
        && is_dns_label(name)
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

fn is_data_key(key: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&key.len()) && key.bytes().all(is_inner) && key != "." && !key.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert!(is_dns_label("web-0") && is_dns_label("0web") && is_dns_label(&"a".repeat(63)));
        for name in ["", "Web", "-web", "web-", "we_b", "a.b", &"a".repeat(64)] {
            assert!(!is_dns_label(name), "{name}");
        }
        assert!(!has_form("0web", Form::Label1035));
    }

    #[test]
    fn other_forms() {
        assert!(is_dns_subdomain("a.b-c.d0") && !is_dns_subdomain("a..b") && !is_dns_subdomain(""));
        assert!(is_qualified_name("app.kubernetes.io/name") && !is_qualified_name("/name"));
        assert!(is_qualified_name("MyName_1") && !is_qualified_name("a/b/c") && !is_qualified_name(""));
        assert!(
            is_label_value("") && is_label_value("V1.2_x") && !is_label_value("a b") && !is_label_value("é")
        );
        assert!(has_form("http-2", Form::PortName) && !has_form("1234", Form::PortName));
        assert!(
            !has_form("schema--registry", Form::PortName) && !has_form("schema-registry-1", Form::PortName)
        );
        assert!(has_form("redpanda.yaml", Form::DataKey) && !has_form("a/b", Form::DataKey));
    }
}
