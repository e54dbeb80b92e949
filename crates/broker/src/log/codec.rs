//! The compression codecs of record batches, with a bound on what a few bytes may grow to.
//!
//! Source: Kafka protocol, "Record Batch", attribute bits 0 to 2. Snappy comes framed as the Java library writes
//! it (`SNAPPY` header, blocks with their lengths) or raw, as some clients send it.

use std::io::Read;

use bytes::BytesMut;
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};

/// What the records of one batch may have uncompressed, bytes. Batches are at most 1 MiB unless configured
/// otherwise; real records do not shrink a hundredfold.
const UNCOMPRESSED_BYTES_MAX: usize = 128 << 20;
/// `0x82 SNAPPY 0`, version and compatible version.
const SNAPPY_HEADER: &[u8] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";

/// Uncompresses records.
///
/// # Errors
/// An unknown codec, bytes that are not of that codec, too many bytes.
pub(super) fn uncompress(codec: i16, bytes: &[u8]) -> Result<Vec<u8>, String> {
    match codec {
        1 => read(flate2::read::MultiGzDecoder::new(bytes)),
        2 => snappy(bytes),
        3 => {
            let mut decoder = lz4::Decoder::new(bytes).map_err(|error| error.to_string())?;
            let records = read(&mut decoder)?;
            // By itself it takes the end of the bytes for the end of the frame.
            decoder.finish().1.map_err(|error| error.to_string())?;
            Ok(records)
        }
        4 => read(zstd::stream::read::Decoder::new(bytes).map_err(|error| error.to_string())?),
        other => Err(format!("compression codec {other} is unknown")),
    }
}

fn read(stream: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = UNCOMPRESSED_BYTES_MAX as u64 + 1;
    stream.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    check_size(bytes.len())?;
    Ok(bytes)
}

fn check_size(size: usize) -> Result<(), String> {
    if size > UNCOMPRESSED_BYTES_MAX {
        return Err(format!("the records have more than {UNCOMPRESSED_BYTES_MAX} bytes uncompressed"));
    }
    Ok(())
}

fn snappy(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let Some(mut blocks) = bytes.strip_prefix(SNAPPY_HEADER) else { return snappy_block(bytes, 0) };
    let mut all = Vec::new();
    while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, rest) = rest.split_at_checked(length).ok_or("a snappy block is cut off")?;
        all.extend(snappy_block(block, all.len())?);
        blocks = rest;
    }
    Ok(all)
}

fn snappy_block(block: &[u8], before: usize) -> Result<Vec<u8>, String> {
    let size = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    check_size(before.saturating_add(size))?;
    snap::raw::Decoder::new().decompress_vec(block).map_err(|error| error.to_string())
}

/// Compresses records.
///
/// # Errors
/// An unknown codec.
pub(super) fn compress(codec: i16, records: &[u8]) -> Result<BytesMut, String> {
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
        other => return Err(format!("compression codec {other} is unknown")),
    }
    .map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_gives_back_what_it_took() {
        let records: Vec<u8> = (0..100_000u32).map(|index| (index.wrapping_mul(index) / 77) as u8).collect();
        for codec in 1..=4 {
            let compressed = compress(codec, &records).unwrap();
            assert_eq!(uncompress(codec, &compressed).unwrap(), records, "codec {codec}");
            assert!(uncompress(codec, &compressed[..compressed.len() / 2]).is_err(), "codec {codec}");
        }
        let raw = snap::raw::Encoder::new().compress_vec(&records).unwrap();
        assert_eq!(uncompress(2, &raw).unwrap(), records);
        assert!(uncompress(5, &records).is_err() && compress(0, &records).is_err());
    }

    #[test]
    fn a_batch_cannot_grow_without_bound() {
        let zeros = vec![0; UNCOMPRESSED_BYTES_MAX + 1];
        for codec in [3, 4] {
            let compressed = compress(codec, &zeros).unwrap();
            assert!(compressed.len() < 1 << 20);
            assert!(uncompress(codec, &compressed).unwrap_err().contains("uncompressed"), "codec {codec}");
        }
        // A snappy block that claims 4 GiB.
        assert!(uncompress(2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).unwrap_err().contains("uncompressed"));
    }
}
