//! A list whose first four entries need no allocation, because nearly every request meets fewer limits.

/// A list of small copies: four inside, any further ones on the heap.
#[derive(Clone, Debug)]
pub struct Few<T> {
    inside: [Option<T>; 4],
    beyond: Vec<T>,
}

impl<T: Copy> Few<T> {
    pub(crate) const fn new() -> Self {
        Few { inside: [None; 4], beyond: Vec::new() }
    }

    pub(crate) fn push(&mut self, entry: T) {
        match self.inside.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(entry),
            None => self.beyond.push(entry),
        }
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.inside.iter().flatten().chain(&self.beyond)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.inside.iter().flatten().count() + self.beyond.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Copy> Default for Few<T> {
    fn default() -> Self {
        Few::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_beyond_the_inner_four() {
        let mut few = Few::new();
        assert!(few.is_empty());
        for number in 0..7 {
            few.push(number);
        }
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(few.len(), 7);
    }
}
