//! A list whose places are reused: requests come and go without an allocation each.

/// Values at stable places.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts a value in a free place and says which.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.places.get_mut(place) {
                    *slot = Some(value);
                }
                place
            }
            None => {
                self.places.push(Some(value));
                self.places.len() - 1
            }
        }
    }

    /// The value at a place.
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place).and_then(Option::as_mut)
    }

    /// Takes the value out and frees its place. The caller drops it, outside of any borrow of the list.
    #[must_use]
    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let value = self.places.get_mut(place).and_then(Option::take);
        if value.is_some() {
            self.free.push(place);
        }
        value
    }

    /// All values.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(Option::as_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_reused_and_freed_only_once() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.insert('c'), a);
        assert_ne!(slots.insert('d'), a);
        assert_eq!(slots.get_mut(b), Some(&mut 'b'));
        assert_eq!(slots.iter_mut().count(), 3);
    }
}
