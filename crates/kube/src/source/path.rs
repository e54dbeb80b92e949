//! Paths to fields, written as Kubernetes users write them: `spec.ports[0].nodePort`.

use std::fmt;

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// The value of this key of a mapping.
    Key(String),
    /// The element at this index (from 0) of a list.
    Index(usize),
}

/// The way from the root of a document, or of an object in it, to one value.
///
/// Displayed as `spec.ports[0].nodePort`; a key that holds anything but letters, digits, `_`, `-` and `$` is
/// put in brackets and quotes: `metadata.labels["app.kubernetes.io/name"]`. The empty path is the root and
/// displays as nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The root itself.
    pub fn root() -> FieldPath {
        FieldPath::default()
    }

    /// This path and then `key`.
    pub fn key(&self, key: impl Into<String>) -> FieldPath {
        self.with(Segment::Key(key.into()))
    }

    /// This path and then the element `index` of a list.
    pub fn index(&self, index: usize) -> FieldPath {
        self.with(Segment::Index(index))
    }

    /// This path and then the steps of `rest`.
    pub fn join(&self, rest: &FieldPath) -> FieldPath {
        FieldPath(self.0.iter().chain(&rest.0).cloned().collect())
    }

    /// The steps from the root on.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn with(&self, segment: Segment) -> FieldPath {
        let mut segments = self.0.clone();
        segments.push(segment);
        FieldPath(segments)
    }
}

impl FromIterator<Segment> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> FieldPath {
        FieldPath(segments.into_iter().collect())
    }
}

impl From<&FieldPath> for FieldPath {
    fn from(path: &FieldPath) -> FieldPath {
        path.clone()
    }
}

/// Reads the displayed form. Every text is some path: what does not parse as an index or a quoted key is
/// taken as a key.
impl From<&str> for FieldPath {
    fn from(text: &str) -> FieldPath {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((segment, after)) = bracketed(rest) {
                segments.push(segment);
                rest = after;
            } else {
                let end = rest.find(['.', '[']).filter(|&end| end > 0).unwrap_or(rest.len());
                segments.push(Segment::Key(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        FieldPath(segments)
    }
}

/// `[3]` or `["key"]` at the start of `text`, and what follows it.
fn bracketed(text: &str) -> Option<(Segment, &str)> {
    let inner = text.strip_prefix('[')?;
    if let Some(quoted) = inner.strip_prefix('"') {
        let end = quoted.find("\"]")?;
        return Some((Segment::Key(quoted[..end].to_owned()), &quoted[end + 2..]));
    }
    let end = inner.find(']')?;
    let index = inner[..end].parse().ok()?;
    Some((Segment::Index(index), &inner[end + 1..]))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if !is_plain(key) => write!(f, "[\"{key}\"]")?,
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_paths_read_back() {
        for text in ["", "spec.ports[0].nodePort", "metadata.labels[\"app.kubernetes.io/name\"]", "[2][3].a"]
        {
            assert_eq!(FieldPath::from(text).to_string(), text);
        }
        let path = FieldPath::root().key("data").key("redpanda.yaml");
        assert_eq!(path.to_string(), "data[\"redpanda.yaml\"]");
        assert_eq!(FieldPath::from("data[\"redpanda.yaml\"]"), path);
    }

    #[test]
    fn odd_text_is_some_path() {
        assert_eq!(FieldPath::from("a[x").segments().len(), 2);
        assert_eq!(FieldPath::from("..").segments().len(), 1);
        assert_eq!(FieldPath::from("[\"").segments().len(), 1);
    }
}
