//! Sockets by number: a slab whose numbers carry a generation, so that a stale number finds nothing.

/// A socket of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SocketId {
    /// The number as a timer's token. The highest bit stays clear.
    pub(crate) fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The number in a timer's token.
    pub(crate) fn of_token(token: u64) -> Self {
        SocketId { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// Highest generation, so that a token's highest bit stays clear.
const GENERATION_MAX: u32 = u32::MAX >> 1;

/// A slab of `T`.
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Adds a value and numbers it.
    pub(crate) fn insert(&mut self, value: T) -> SocketId {
        let value = Some(Box::new(value));
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                slot.value = value;
                SocketId { index, generation: slot.generation }
            }
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 sockets");
                self.slots.push(Slot { generation: 0, value });
                SocketId { index, generation: 0 }
            }
        }
    }

    /// The value, unless it was removed.
    pub(crate) fn get(&self, id: SocketId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        slot.value.as_deref().filter(|_| slot.generation == id.generation)
    }

    /// The value, unless it was removed.
    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.value.as_deref_mut().filter(|_| slot.generation == id.generation)
    }

    /// Takes the value out.
    pub(crate) fn remove(&mut self, id: SocketId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation = if slot.generation == GENERATION_MAX { 0 } else { slot.generation + 1 };
        self.free.push(id.index);
        Some(*value)
    }

    /// The numbers of the values for which `condition` holds, in order.
    pub(crate) fn ids_where(&self, condition: impl Fn(&T) -> bool) -> Vec<SocketId> {
        let numbered = self.slots.iter().zip(0..);
        numbered
            .filter(|(slot, _)| slot.value.as_deref().is_some_and(&condition))
            .map(|(slot, index)| SocketId { index, generation: slot.generation })
            .collect()
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_number_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&"second")));
        assert_eq!(slots.remove(first), None);
        assert_eq!(SocketId::of_token(second.token()), second);
        assert_eq!((slots.len(), slots.ids_where(|_| true)), (1, vec![second]));
    }
}
