//! Damage to a good input, drawn from a seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Lengths and counts that claim what is not there, or nearly overflow.
const CLAIMS: [u32; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xffff,
    0x0010_0000,
    0x0630_0000,
    0x0640_0001,
    0x7fff_fffe,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];
/// The same as variable-length integers, as compact arrays and records have them.
const VARINTS: [&[u8]; 5] =
    [&[0], &[0x7f], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x80; 12]];
/// Bytes of an input.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// Draws inputs from a corpus.
pub struct Mutator {
    random: ChaCha8Rng,
}

impl Mutator {
    /// The same seed draws the same inputs from the same corpus.
    pub fn new(seed: u64) -> Mutator {
        Mutator { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.random.next_u64() % end.max(1) as u64) as usize
    }

    /// True in one of `count` cases.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// An input of the corpus, damaged in up to four ways. If inputs are `framed` (begin with their length), the
    /// length is made right again most of the time, so that the damage reaches what reads the content.
    pub fn draw(&mut self, corpus: &[Vec<u8>], framed: bool) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..self.below(5) {
            self.damage(&mut input, corpus);
        }
        input.truncate(INPUT_BYTES_MAX);
        if framed && input.len() >= 4 && !self.one_in(4) {
            let length = (input.len() - 4) as u32;
            input[..4].copy_from_slice(&length.to_be_bytes());
        }
        if self.one_in(20) {
            let copies = 1 + self.below(50);
            let copies = copies.min(INPUT_BYTES_MAX / input.len().max(1));
            input = input.repeat(copies.max(1));
        }
        input
    }

    fn damage(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(10) {
            0 => input.truncate(at),
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.random.next_u32() % 8);
                }
            }
            2 => {
                let value = [0, 1, 0x7f, 0x80, 0xff, b'"', b'[', b'\n'][self.below(8)];
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
            }
            3 => {
                let claim = CLAIMS[self.below(CLAIMS.len())].to_be_bytes();
                input.iter_mut().skip(at).zip(claim).for_each(|(byte, value)| *byte = value);
            }
            4 => {
                let varint = VARINTS[self.below(VARINTS.len())];
                input.splice(at..(at + 1).min(input.len()), varint.iter().copied());
            }
            5 => {
                let count = 1 + self.below(16);
                let random: Vec<u8> = (0..count).map(|_| self.random.next_u32() as u8).collect();
                input.splice(at..at, random);
            }
            6 => {
                let end = (at + 1 + self.below(64)).min(input.len());
                input.drain(at..end.max(at));
            }
            7 => {
                let end = (at + 1 + self.below(256)).min(input.len());
                let chunk = input[at..end.max(at)].repeat(1 + self.below(100));
                input.splice(at..at, chunk);
            }
            8 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let opening = [&b"["[..], b"{\"a\":", b"(", b"%ff", b"\x00"][self.below(5)];
                input.splice(at..at, opening.repeat(1 + self.below(20_000)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_most_inputs_differ_from_the_corpus() {
        let corpus = vec![b"\x00\x00\x00\x05hello".to_vec(), b"\x00\x00\x00\x05world".to_vec()];
        let draw = |seed| -> Vec<Vec<u8>> {
            let mut mutator = Mutator::new(seed);
            (0..200).map(|_| mutator.draw(&corpus, true)).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let same = draw(1).iter().filter(|input| corpus.contains(input)).count();
        // One in five is left as it is; some damage changes nothing.
        assert!((20..80).contains(&same), "{same}");
        assert!(draw(1).iter().all(|input| input.len() <= INPUT_BYTES_MAX));
    }
}
