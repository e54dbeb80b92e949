//! A request's outline, checked before it is decoded.
//!
//! `kafka-protocol` reserves memory for as many elements as an array's length claims. A frame of a few bytes
//! can claim two billion, so the lengths are compared here with the bytes that are left, and all elements of
//! a request are counted. The outlines, one file per family of requests, follow the protocol guide's request
//! schemas; fields of a fixed size are merely passed over. Known tagged fields are walked too: a tag whose
//! size is not that of its content would make the decoder read on at another place than the guard.

mod groups;
mod records;
mod security;
mod settings;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;

use kafka_protocol::messages::ApiKey;

/// Elements that the arrays of one request may have in all, whatever the frame's length.
const ELEMENTS_MAX: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutlineError {
    #[error("it ends within a field")]
    Short,
    #[error("an array claims {0} elements")]
    Elements(usize),
    #[error("a tagged field does not have the size it claims")]
    Tag,
}

/// A field: its kind and the versions that have it.
struct Field {
    kind: Kind,
    first: i16,
    last: i16,
    tag: Option<usize>,
}

enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes, or null.
    Bytes,
    /// A structure.
    Structure(&'static [Field]),
    /// A structure behind a byte that is 1 if it is there.
    Optional(&'static [Field]),
    /// An array of structures.
    Structures(&'static [Field]),
    /// An array of numbers of so many bytes.
    Numbers(usize),
    /// An array of strings.
    Texts,
}

const fn all(kind: Kind) -> Field {
    Field { kind, first: 0, last: i16::MAX, tag: None }
}

const fn from(first: i16, kind: Kind) -> Field {
    Field { kind, first, last: i16::MAX, tag: None }
}

const fn between(first: i16, last: i16, kind: Kind) -> Field {
    Field { kind, first, last, tag: None }
}

const fn tagged(tag: usize, first: i16, kind: Kind) -> Field {
    Field { kind, first, last: i16::MAX, tag: Some(tag) }
}

/// The outline of a request; every key that is offered has one.
fn outline(api: ApiKey) -> Option<&'static [Field]> {
    let families = [
        records::outline,
        topics::outline,
        groups::outline,
        settings::outline,
        security::outline,
        transactions::outline,
    ];
    families.into_iter().find_map(|family| family(api))
}

/// Checks a request frame (header and body).
///
/// # Errors
/// A frame that ends too early, or an array that cannot have the elements it claims.
pub(super) fn check(api: ApiKey, version: i16, frame: &[u8]) -> Result<(), OutlineError> {
    rest(api, version, frame).map(drop)
}

/// What follows the request in its frame; normally nothing.
fn rest(api: ApiKey, version: i16, frame: &[u8]) -> Result<&[u8], OutlineError> {
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: frame, version, flexible: false, elements: 0 };
    // Key, version, correlation id; the client id has a length of 2 bytes in every header version (KIP-482).
    walk.take(8)?;
    walk.text()?;
    walk.flexible = flexible;
    walk.tags(&[])?;
    // A key without an outline is not offered, so nobody decodes its body.
    walk.structure(outline(api).unwrap_or(&[]))?;
    Ok(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    /// Elements of all arrays so far.
    elements: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], OutlineError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(OutlineError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<usize, OutlineError> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn integer(&mut self) -> Result<i32, OutlineError> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<(), OutlineError> {
        let length = if self.flexible {
            self.varint()?.saturating_sub(1)
        } else {
            let bytes = self.take(2)?;
            usize::try_from(i16::from_be_bytes([bytes[0], bytes[1]])).unwrap_or(0)
        };
        self.take(length).map(drop)
    }

    fn bytes(&mut self) -> Result<(), OutlineError> {
        let length = self.length()?;
        self.take(length).map(drop)
    }

    /// The length of an array or of bytes; null counts as 0.
    fn length(&mut self) -> Result<usize, OutlineError> {
        if self.flexible {
            Ok(self.varint()?.saturating_sub(1))
        } else {
            Ok(usize::try_from(self.integer()?).unwrap_or(0))
        }
    }

    fn elements(&mut self) -> Result<usize, OutlineError> {
        let count = self.length()?;
        self.count(count)
    }

    /// Each element has at least a byte.
    fn count(&mut self, count: usize) -> Result<usize, OutlineError> {
        self.elements = self.elements.saturating_add(count);
        if count > self.rest.len() || self.elements > ELEMENTS_MAX {
            Err(OutlineError::Elements(count))
        } else {
            Ok(count)
        }
    }

    fn tags(&mut self, known: &[Field]) -> Result<(), OutlineError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()?;
        for _ in 0..self.count(count)? {
            let tag = self.varint()?;
            let size = self.varint()?;
            if size > self.rest.len() {
                return Err(OutlineError::Short);
            }
            let after = self.rest.len() - size;
            match known.iter().find(|field| field.tag == Some(tag) && self.has(field)) {
                Some(field) => self.field(&field.kind)?,
                None => drop(self.take(size)?),
            }
            if self.rest.len() != after {
                return Err(OutlineError::Tag);
            }
        }
        Ok(())
    }

    fn has(&self, field: &Field) -> bool {
        (field.first..=field.last).contains(&self.version)
    }

    fn structure(&mut self, fields: &[Field]) -> Result<(), OutlineError> {
        for field in fields {
            if field.tag.is_none() && self.has(field) {
                self.field(&field.kind)?;
            }
        }
        self.tags(fields)
    }

    fn field(&mut self, kind: &Kind) -> Result<(), OutlineError> {
        match kind {
            Kind::Fixed(count) => self.take(*count).map(drop),
            Kind::Text => self.text(),
            Kind::Bytes => self.bytes(),
            Kind::Structure(fields) => self.structure(fields),
            Kind::Optional(fields) => match self.take(1)?[0] {
                1 => self.structure(fields),
                _ => Ok(()),
            },
            Kind::Structures(fields) => (0..self.elements()?).try_for_each(|_| self.structure(fields)),
            Kind::Numbers(size) => (0..self.elements()?).try_for_each(|_| self.take(*size).map(drop)),
            Kind::Texts => (0..self.elements()?).try_for_each(|_| self.text()),
        }
    }
}
