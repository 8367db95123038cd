//! Bounded wait queues: packets that wait for an SA, or for a neighbour's hardware address.
//!
//! All memory is allocated once. There is a limit per key and a total limit; when either is
//! reached, the oldest item of the same key is removed, or the new item is refused if its key has
//! none.

use std::collections::HashMap;
use std::hash::Hash;

/// Result of adding an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<T> {
    /// It waits.
    Waiting,
    /// It waits, and this older one of the same key was removed.
    Replaced(T),
    /// The queues are full and no item of the same key waits: the new item is returned.
    Refused(T),
}

/// Items that wait, by key, oldest first.
#[derive(Debug)]
pub struct WaitQueues<K, T> {
    queues: HashMap<K, Queue>,
    nodes: Vec<Node<T>>,
    free: u32,
    per_key: u32,
    waiting: usize,
}

#[derive(Debug)]
struct Queue {
    head: u32,
    tail: u32,
    len: u32,
}

#[derive(Debug)]
struct Node<T> {
    item: Option<T>,
    since_ms: u64,
    next: u32,
}

const NIL: u32 = u32::MAX;

impl<K: Hash + Eq + Copy, T> WaitQueues<K, T> {
    /// Room for `capacity` items, at most `per_key` for one key.
    pub fn new(capacity: u32, per_key: u32) -> WaitQueues<K, T> {
        let nodes = (0..capacity)
            .map(|index| Node {
                item: None,
                since_ms: 0,
                next: if index + 1 < capacity { index + 1 } else { NIL },
            })
            .collect();
        WaitQueues {
            queues: HashMap::with_capacity(capacity as usize),
            nodes,
            free: if capacity == 0 { NIL } else { 0 },
            per_key: per_key.max(1),
            waiting: 0,
        }
    }

    /// Number of waiting items.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The keys with waiting items.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.queues.keys().copied()
    }

    /// Adds an item.
    pub fn push(&mut self, key: K, item: T, now_ms: u64) -> Admission<T> {
        let full = self.queues.get(&key).is_some_and(|queue| queue.len >= self.per_key);
        let replaced = if full || self.free == NIL { self.pop(key) } else { None };
        let index = self.free;
        let Some(node) = self.nodes.get_mut(index as usize) else { return Admission::Refused(item) };
        self.free = node.next;
        *node = Node { item: Some(item), since_ms: now_ms, next: NIL };
        let queue = self.queues.entry(key).or_insert(Queue { head: index, tail: index, len: 0 });
        let tail = std::mem::replace(&mut queue.tail, index);
        queue.len += 1;
        self.waiting += 1;
        if tail != index
            && let Some(before) = self.nodes.get_mut(tail as usize)
        {
            before.next = index;
        }
        match replaced {
            Some(item) => Admission::Replaced(item),
            None => Admission::Waiting,
        }
    }

    /// Takes the oldest item of a key.
    pub fn pop(&mut self, key: K) -> Option<T> {
        let queue = self.queues.get_mut(&key)?;
        let index = queue.head;
        let node = self.nodes.get_mut(index as usize)?;
        let item = node.item.take();
        queue.head = std::mem::replace(&mut node.next, self.free);
        queue.len -= 1;
        self.free = index;
        self.waiting -= 1;
        if queue.len == 0 {
            self.queues.remove(&key);
        }
        item
    }

    /// Takes an item that began to wait at `deadline_ms` or before; `None` if there is none.
    pub fn pop_older(&mut self, deadline_ms: u64) -> Option<T> {
        let key = self.queues.iter().find_map(|(key, queue)| {
            let head = self.nodes.get(queue.head as usize)?;
            (head.since_ms <= deadline_ms).then_some(*key)
        })?;
        self.pop(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn the_oldest_of_a_full_key_makes_room() {
        let mut waiting = WaitQueues::new(10, 2);
        assert_eq!(waiting.push('a', 1, 0), Admission::Waiting);
        assert_eq!(waiting.push('a', 2, 0), Admission::Waiting);
        assert_eq!(waiting.push('a', 3, 0), Admission::Replaced(1));
        assert_eq!((waiting.pop('a'), waiting.pop('a'), waiting.pop('a')), (Some(2), Some(3), None));
        assert!(waiting.is_empty() && waiting.keys().next().is_none());
    }

    #[test]
    fn when_everything_is_full_a_new_key_is_refused_and_a_waiting_one_replaces_its_own() {
        let mut waiting = WaitQueues::new(2, 5);
        waiting.push('a', 1, 0);
        waiting.push('b', 2, 0);
        assert_eq!(waiting.push('c', 3, 0), Admission::Refused(3));
        assert_eq!(waiting.push('b', 4, 0), Admission::Replaced(2));
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn items_expire_by_age() {
        let mut waiting = WaitQueues::new(8, 8);
        waiting.push('a', 1, 10);
        waiting.push('b', 2, 20);
        waiting.push('a', 3, 30);
        assert_eq!(waiting.pop_older(9), None);
        let mut old = vec![waiting.pop_older(20).unwrap(), waiting.pop_older(20).unwrap()];
        old.sort_unstable();
        assert_eq!(old, [1, 2]);
        assert_eq!(waiting.pop_older(20), None);
        assert_eq!(waiting.pop('a'), Some(3));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_reordered(operations in prop::collection::vec((0u8..4, any::<bool>()), 0..200)) {
            let mut waiting = WaitQueues::new(12, 5);
            let mut model: HashMap<u8, VecDeque<usize>> = HashMap::new();
            for (number, (key, push)) in operations.into_iter().enumerate() {
                let total: usize = model.values().map(VecDeque::len).sum();
                prop_assert_eq!(waiting.len(), total);
                let queue = model.entry(key).or_default();
                if push {
                    let expected = if queue.len() == 5 || (total == 12 && !queue.is_empty()) {
                        Admission::Replaced(queue.pop_front().unwrap())
                    } else if total == 12 {
                        Admission::Refused(number)
                    } else {
                        Admission::Waiting
                    };
                    if expected != Admission::Refused(number) {
                        queue.push_back(number);
                    }
                    prop_assert_eq!(waiting.push(key, number, 0), expected);
                } else {
                    prop_assert_eq!(waiting.pop(key), queue.pop_front());
                }
            }
        }
    }
}
