//! Where the numbers of a draw come from.

use hopwise_engine::random::Stream;
use rand::Rng;

/// A source of choices. A draw is a pure function of one.
pub trait Choices {
    /// A number from 0 to `bound - 1`; 0 if `bound` is 0.
    fn below(&mut self, bound: u64) -> u64;
}

/// A stream of random numbers. The numbers stay as they are between releases of `rand`: only its raw output is used.
impl Choices for Stream {
    fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(u64::MAX)
    }
}

/// Numbers that are there already, as a property test draws them: each is taken modulo the bound, and behind the last
/// there are zeros, so that smaller numbers and fewer of them give a simpler draw.
#[derive(Clone, Debug)]
pub struct Listed<'a>(std::slice::Iter<'a, u64>);

impl<'a> Listed<'a> {
    /// These numbers.
    pub fn new(numbers: &'a [u64]) -> Self {
        Listed(numbers.iter())
    }
}

impl Choices for Listed<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next().copied().unwrap_or(0).checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::random::stream_of;

    use super::*;

    #[test]
    fn every_number_below_the_bound_comes_and_no_other() {
        let mut stream = stream_of(1, "choices");
        let mut seen = [0_u32; 5];
        for _ in 0..1000 {
            seen[usize::try_from(stream.below(5)).expect("small")] += 1;
        }
        assert!(seen.iter().all(|count| (150..=250).contains(count)), "{seen:?}");
        assert_eq!(stream.below(0), 0);
    }

    #[test]
    fn a_list_is_taken_modulo_the_bound_and_goes_on_with_zeros() {
        let mut listed = Listed::new(&[7, 3]);
        assert_eq!([listed.below(5), listed.below(5), listed.below(5), listed.below(0)], [2, 3, 0, 0]);
    }
}
