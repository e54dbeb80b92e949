//! Fields of the keys and values that coordinators keep: big-endian integers, strings and bytes behind their
//! length, as in the Kafka protocol's versions before KIP-482; and the compact fields of that KIP, for values that
//! have them.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// The value is not of the form that its version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record ends within a field, or a field has no sense")]
pub(crate) struct Malformed;

/// Writes fields one after another.
#[derive(Debug, Default)]
pub(crate) struct FieldWriter(BytesMut);

impl FieldWriter {
    pub fn version(version: i16) -> FieldWriter {
        let mut writer = FieldWriter::default();
        writer.0.put_i16(version);
        writer
    }

    pub fn i8(&mut self, value: i8) -> &mut Self {
        self.0.put_i8(value);
        self
    }

    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.0.put_i16(value);
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.0.put_i32(value);
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.0.put_i64(value);
        self
    }

    /// Requests carry no string of more than 32 KiB where these are kept.
    pub fn text(&mut self, value: &str) -> &mut Self {
        let bytes = &value.as_bytes()[..value.len().min(i16::MAX as usize)];
        self.0.put_i16(bytes.len() as i16);
        self.0.put_slice(bytes);
        self
    }

    pub fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.i16(-1),
        }
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.put_slice(value);
        self
    }

    fn varint(&mut self, mut value: u32) -> &mut Self {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
        self
    }

    /// The length of a compact array.
    pub fn compact_count(&mut self, count: usize) -> &mut Self {
        self.varint(u32::try_from(count.saturating_add(1)).unwrap_or(u32::MAX))
    }

    /// A compact array, string or bytes that are null.
    pub fn compact_null(&mut self) -> &mut Self {
        self.varint(0)
    }

    pub fn compact_text(&mut self, value: Option<&str>) -> &mut Self {
        let Some(value) = value else { return self.compact_null() };
        self.compact_count(value.len());
        self.0.put_slice(value.as_bytes());
        self
    }

    pub fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.0.put_slice(value.as_bytes());
        self
    }

    /// The end of a structure without tagged fields.
    pub fn no_tags(&mut self) -> &mut Self {
        self.varint(0)
    }

    /// The end of a structure with one tagged field; it is left out if it is 0.
    pub fn tagged_i64(&mut self, tag: u32, value: i64) -> &mut Self {
        if value == 0 {
            return self.no_tags();
        }
        self.tagged(&[(tag, &value.to_be_bytes())])
    }

    /// The end of a structure with these tagged fields, which are in the order of their tags.
    pub fn tagged(&mut self, fields: &[(u32, &[u8])]) -> &mut Self {
        self.varint(fields.len() as u32);
        for (tag, bytes) in fields {
            self.varint(*tag).varint(bytes.len() as u32);
            self.0.put_slice(bytes);
        }
        self
    }

    pub fn finish(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}

/// Reads fields one after another.
#[derive(Debug)]
pub(crate) struct FieldReader(Bytes);

impl FieldReader {
    pub fn new(bytes: Bytes) -> FieldReader {
        FieldReader(bytes)
    }

    fn take(&mut self, count: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < count { Err(Malformed) } else { Ok(self.0.split_to(count)) }
    }

    pub fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(self.take(1)?.get_i8())
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(self.take(2)?.get_i16())
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(self.take(4)?.get_i32())
    }

    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(self.take(8)?.get_i64())
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        self.optional_text()?.ok_or(Malformed)
    }

    pub fn optional_text(&mut self) -> Result<Option<String>, Malformed> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        String::from_utf8(self.take(length)?.to_vec()).map(Some).map_err(|_| Malformed)
    }

    /// Null counts as empty.
    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.i32()?).unwrap_or(0);
        self.take(length)
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// The length of a compact array; null counts as 0. Elements take at least a byte each.
    pub fn compact_count(&mut self) -> Result<usize, Malformed> {
        let count = self.varint()?.saturating_sub(1) as usize;
        if count > self.0.len() { Err(Malformed) } else { Ok(count) }
    }

    pub fn compact_text(&mut self) -> Result<Option<String>, Malformed> {
        let Some(length) = self.varint()?.checked_sub(1) else { return Ok(None) };
        String::from_utf8(self.take(length as usize)?.to_vec()).map(Some).map_err(|_| Malformed)
    }

    pub fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Uuid::from_slice(&self.take(16)?).map_err(|_| Malformed)
    }

    /// The tagged fields at the end of a structure, passed over.
    pub fn tags(&mut self) -> Result<(), Malformed> {
        self.tagged().map(drop)
    }

    /// The tagged field at the end of a structure, if it is there.
    pub fn tagged_i64(&mut self, tag: u32) -> Result<Option<i64>, Malformed> {
        let found = self.tagged()?.remove(&tag);
        found.map(|mut field| field.i64()).transpose()
    }

    /// The tagged fields at the end of a structure. They take at least two bytes each.
    pub fn tagged(&mut self) -> Result<BTreeMap<u32, FieldReader>, Malformed> {
        let mut fields = BTreeMap::new();
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()?);
            fields.insert(tag, FieldReader(self.take(size as usize)?));
        }
        Ok(fields)
    }

    /// The length of an array; elements take at least a byte each, so it is not more than there are bytes.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        if count > self.0.len() { Err(Malformed) } else { Ok(count) }
    }
}
