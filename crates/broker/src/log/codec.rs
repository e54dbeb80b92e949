//! The compression codecs of record batches, with a bound on what a few bytes may grow to.
//!
//! Source: Kafka protocol, "Record Batch", attribute bits 0 to 2. Snappy comes framed as the Java library writes
//! it (`SNAPPY` header, blocks with their lengths) or raw, as some clients send it.

use std::borrow::Cow;
use std::io::Read;

use bytes::BytesMut;
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};

/// What the records of one batch may have uncompressed, bytes. Batches are at most 1 MiB unless configured
/// otherwise; real records do not shrink a hundredfold.
pub(crate) const UNCOMPRESSED_BYTES_MAX: usize = 100 << 20;
/// How the Java library's framing begins; version and least compatible version follow.
const SNAPPY_MAGIC: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_HEADER_BYTES: usize = 16;

/// Why records cannot be uncompressed or compressed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("compression codec {0} is not known")]
    Unknown(i16),
    #[error("the records cannot be decompressed: {0}")]
    Damaged(String),
    #[error("the records have more than {0} bytes when decompressed")]
    Large(usize),
}

fn damaged(error: impl std::fmt::Display) -> CodecError {
    CodecError::Damaged(error.to_string())
}

/// Uncompresses records that have at most `bytes_max` bytes then: codec 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
///
/// # Errors
/// An unknown codec, bytes that are not of that codec, too many bytes.
pub(crate) fn uncompress(codec: i16, bytes: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, CodecError> {
    let records = match codec {
        0 => return Ok(Cow::Borrowed(bytes)),
        1 => read(flate2::read::MultiGzDecoder::new(bytes), bytes_max)?,
        2 => snappy(bytes, bytes_max)?,
        3 => {
            let mut decoder = lz4::Decoder::new(bytes).map_err(damaged)?;
            let records = read(&mut decoder, bytes_max)?;
            // By itself it takes the end of the bytes for the end of the frame.
            decoder.finish().1.map_err(damaged)?;
            records
        }
        4 => read(zstd::stream::read::Decoder::with_buffer(bytes).map_err(damaged)?, bytes_max)?,
        other => return Err(CodecError::Unknown(other)),
    };
    Ok(Cow::Owned(records))
}

fn read(stream: impl Read, bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    stream.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() > bytes_max { Err(CodecError::Large(bytes_max)) } else { Ok(bytes) }
}

fn snappy(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    let mut all = Vec::new();
    if !bytes.starts_with(SNAPPY_MAGIC) {
        snappy_block(bytes, &mut all, bytes_max)?;
        return Ok(all);
    }
    let short = || damaged("the snappy stream ends early");
    let mut blocks = bytes.get(SNAPPY_HEADER_BYTES..).ok_or_else(short)?;
    while !blocks.is_empty() {
        let (length, rest) = blocks.split_first_chunk().ok_or_else(short)?;
        let (block, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(short)?;
        snappy_block(block, &mut all, bytes_max)?;
        blocks = rest;
    }
    Ok(all)
}

fn snappy_block(block: &[u8], all: &mut Vec<u8>, bytes_max: usize) -> Result<(), CodecError> {
    let size = snap::raw::decompress_len(block).map_err(damaged)?;
    let start = all.len();
    if size > bytes_max - start {
        return Err(CodecError::Large(bytes_max));
    }
    all.resize(start + size, 0);
    snap::raw::Decoder::new().decompress(block, &mut all[start..]).map_err(damaged)?;
    Ok(())
}

/// Compresses records.
///
/// # Errors
/// An unknown codec.
pub(super) fn compress(codec: i16, records: &[u8]) -> Result<BytesMut, CodecError> {
    let mut bytes = BytesMut::new();
    let fill = |buffer: &mut BytesMut| {
        buffer.extend_from_slice(records);
        Ok(())
    };
    match codec {
        1 => Gzip::compress(&mut bytes, fill),
        2 => Snappy::compress(&mut bytes, fill),
        3 => Lz4::compress(&mut bytes, fill),
        4 => Zstd::compress(&mut bytes, fill),
        other => return Err(CodecError::Unknown(other)),
    }
    .map_err(damaged)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_gives_back_what_it_took() {
        let records: Vec<u8> = (0..100_000u32).map(|index| (index.wrapping_mul(index) / 77) as u8).collect();
        let back =
            |codec, bytes: &[u8]| uncompress(codec, bytes, UNCOMPRESSED_BYTES_MAX).map(Cow::into_owned);
        for codec in 1..=4 {
            let compressed = compress(codec, &records).unwrap();
            assert_eq!(back(codec, &compressed).unwrap(), records, "codec {codec}");
            let half = back(codec, &compressed[..compressed.len() / 2]);
            assert!(matches!(half, Err(CodecError::Damaged(_))), "codec {codec}");
        }
        assert_eq!(back(0, &records).unwrap(), records);
        let raw = snap::raw::Encoder::new().compress_vec(&records).unwrap();
        assert_eq!(back(2, &raw).unwrap(), records);
        assert_eq!(back(5, &records), Err(CodecError::Unknown(5)));
        assert_eq!(compress(0, &records), Err(CodecError::Unknown(0)));
    }

    #[test]
    fn a_batch_cannot_grow_without_bound() {
        let zeros = vec![0; 5_000_000];
        for codec in 1..=4 {
            let compressed = compress(codec, &zeros).unwrap();
            assert!(compressed.len() < 1 << 20);
            assert_eq!(
                uncompress(codec, &compressed, 4_999_999),
                Err(CodecError::Large(4_999_999)),
                "{codec}"
            );
            assert_eq!(uncompress(codec, &compressed, 5_000_000).unwrap().len(), 5_000_000, "{codec}");
        }
        // A snappy block that claims 4 GiB.
        let claim = uncompress(2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], UNCOMPRESSED_BYTES_MAX);
        assert_eq!(claim, Err(CodecError::Large(UNCOMPRESSED_BYTES_MAX)));
    }
}
