//! Bytes that are written together, gathered from pieces: small ones are copied next to each other, large ones are shared.
//!
//! Records pass through a broker many times their size per second; what is copied once more on the way, or put into
//! memory that was never touched, costs more than all that is decided about them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Pieces of at least so many bytes are shared: below, a copy is cheaper than another piece to write.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// Bytes to write, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// None of them is empty.
    chunks: VecDeque<Bytes>,
    /// What the last small pieces came to.
    open: BytesMut,
}

impl Gathered {
    /// Room for small pieces, of about so many bytes.
    pub fn with_capacity(bytes: usize) -> Gathered {
        Gathered { chunks: VecDeque::new(), open: BytesMut::with_capacity(bytes) }
    }

    /// The end, for small pieces.
    pub fn end(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if piece.len() < SHARED_BYTES_MIN {
            self.open.put_slice(&piece);
            return;
        }
        self.close();
        self.chunks.push_back(piece);
    }

    /// Puts a piece, copied, before all others.
    pub fn prepend(&mut self, piece: &[u8]) {
        if !self.chunks.is_empty() {
            self.chunks.push_front(Bytes::copy_from_slice(piece));
            return;
        }
        let end = self.open.len();
        self.open.put_slice(piece);
        self.open.copy_within(..end, piece.len());
        self.open[..piece.len()].copy_from_slice(piece);
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum::<usize>() + self.open.len()
    }

    /// The pieces, none of them empty.
    pub fn into_chunks(mut self) -> VecDeque<Bytes> {
        self.close();
        self.chunks
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push_back(self.open.split().freeze());
        }
    }

    /// The pieces behind each other, as they are read.
    pub fn whole(self) -> Bytes {
        let mut chunks = self.into_chunks();
        match chunks.len() {
            0 | 1 => chunks.pop_front().unwrap_or_default(),
            _ => Bytes::from(chunks.make_contiguous().concat()),
        }
    }

    /// To be written to a connection.
    pub fn outgoing(self) -> Outgoing {
        Outgoing(self.into_chunks())
    }
}

impl From<&[u8]> for Gathered {
    fn from(bytes: &[u8]) -> Gathered {
        Gathered { chunks: VecDeque::new(), open: BytesMut::from(bytes) }
    }
}

impl<const N: usize> From<&[u8; N]> for Gathered {
    fn from(bytes: &[u8; N]) -> Gathered {
        Gathered::from(bytes.as_slice())
    }
}

/// Bytes on their way to a connection.
#[derive(Debug)]
pub(crate) struct Outgoing(VecDeque<Bytes>);

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Outgoing {
        Outgoing(if bytes.is_empty() { VecDeque::new() } else { VecDeque::from([bytes]) })
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |chunk| chunk)
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(first) = self.0.front_mut() else { return };
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.0.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.0);
        pairs.map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_one_chunk_and_large_ones_are_shared() {
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut gathered = Gathered::default();
        gathered.end().put_u16(0x0102);
        gathered.push(Bytes::from_static(&[3]));
        gathered.push(large.clone());
        gathered.push(Bytes::new());
        gathered.end().put_u8(4);
        let chunks: Vec<Bytes> = gathered.clone().into_chunks().into();
        assert_eq!(chunks, [Bytes::from_static(&[1, 2, 3]), large.clone(), Bytes::from_static(&[4])]);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        gathered.prepend(&[9, 9]);
        assert_eq!(gathered.len(), 6 + SHARED_BYTES_MIN);
        assert_eq!(gathered.whole()[..5], [9, 9, 1, 2, 3]);
        let mut small = Gathered::default();
        small.end().put_slice(&[5, 6, 7]);
        small.prepend(&[1, 2]);
        assert_eq!(small.into_chunks(), [Bytes::from_static(&[1, 2, 5, 6, 7])]);
    }

    #[test]
    fn what_is_written_in_parts_goes_on_where_it_was() {
        let mut gathered = Gathered::default();
        gathered.end().put_slice(&[1; 10]);
        gathered.push(Bytes::from(vec![2; SHARED_BYTES_MIN]));
        let expected = gathered.clone().whole();
        for step in [1, 7, 10, 11, SHARED_BYTES_MIN, SHARED_BYTES_MIN + 10] {
            let (mut outgoing, mut written) = (gathered.clone().outgoing(), Vec::new());
            while outgoing.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 4];
                let count = outgoing.chunks_vectored(&mut slices);
                let part: Vec<u8> =
                    slices[..count].iter().flat_map(|slice| slice.iter().copied()).take(step).collect();
                outgoing.advance(part.len());
                written.extend(part);
            }
            assert_eq!(written, expected, "{step} at a time");
        }
    }
}
