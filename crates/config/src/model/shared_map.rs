//! A persistent ordered map: a clone takes constant time, and a change takes logarithmic time even
//! if other clones share the map. The differences of two versions are found without visiting shared
//! parts.
//!
//! It is a treap (a binary search tree by key and a heap by priority) with shared nodes. The
//! priority is a hash of the key, so that equal key sets have the same shape: versions of one map
//! differ only in the paths to changed entries. the paths to what was changed.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Index;
use std::sync::Arc;

/// A persistent ordered map with the methods of `BTreeMap`, see the module documentation.
pub struct SharedMap<K, V> {
    root: Link<K, V>,
    len: usize,
}

type Link<K, V> = Option<Arc<Node<K, V>>>;
type Pair<K, V> = Arc<(K, V)>;

struct Node<K, V> {
    pair: Pair<K, V>,
    priority: u64,
    left: Link<K, V>,
    right: Link<K, V>,
}

/// A key with the values that two maps have for it.
#[derive(Debug)]
pub struct Difference<K, V> {
    old: Option<Pair<K, V>>,
    new: Option<Pair<K, V>>,
}

impl<K, V> Difference<K, V> {
    /// The entry of the first map.
    pub fn before(&self) -> Option<(&K, &V)> {
        self.old.as_ref().map(|pair| (&pair.0, &pair.1))
    }

    /// The entry of the second map.
    pub fn after(&self) -> Option<(&K, &V)> {
        self.new.as_ref().map(|pair| (&pair.0, &pair.1))
    }
}

impl<K, V> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self { root: None, len: 0 }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in key order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { path: Vec::new() };
        iter.descend(&self.root);
        iter
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in key order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut link = &self.root;
        loop {
            let node = link.as_ref()?;
            link = match key.cmp(node.pair.0.borrow()) {
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
                Ordering::Equal => return Some(&node.pair.1),
            };
        }
    }

    /// Whether the key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

impl<K: Ord + Hash + Clone, V: Clone> SharedMap<K, V> {
    /// The value of a key, mutable.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        // A failed look-up must not copy shared nodes.
        if !self.contains_key(key) {
            return None;
        }
        find_mut(&mut self.root, key)
    }

    /// Sets the value of a key and returns the previous one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(place) = self.get_mut(&key) {
            return Some(std::mem::replace(place, value));
        }
        let priority = priority(&key);
        insert(&mut self.root, Node { pair: Arc::new((key, value)), priority, left: None, right: None });
        self.len += 1;
        None
    }

    /// Removes a key and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        self.len -= 1;
        let removed = remove(&mut self.root, key)?;
        Some(Arc::try_unwrap(removed).map_or_else(|shared| shared.1.clone(), |(_, value)| value))
    }

    /// The value of a key, inserting the default if absent.
    pub fn entry_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.entry_or_insert_with(key, V::default)
    }

    /// The value of a key, inserting the result of `make` if absent.
    pub fn entry_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.contains_key(&key) {
            self.insert(key.clone(), make());
        }
        match find_mut(&mut self.root, &key) {
            Some(value) => value,
            None => unreachable!("the key was inserted"),
        }
    }

    /// The entries whose value differs or that only one map has, in key order.
    pub fn differences(&self, other: &Self) -> Vec<Difference<K, V>>
    where
        V: PartialEq,
    {
        let mut found = Vec::new();
        differences(&self.root, &other.root, &mut found);
        found
    }
}

/// A hash without a random seed: equal keys have the same priority in every map.
fn priority<K: Hash>(key: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl<K: Ord, V> Node<K, V> {
    /// Whether this node is above the other one in the heap; a strict total order for different
    /// keys.
    fn is_above(&self, other: &Self) -> bool {
        (self.priority, &self.pair.0) > (other.priority, &other.pair.0)
    }
}

fn find_mut<'n, K: Ord + Borrow<Q> + Clone, V: Clone, Q: Ord + ?Sized>(
    mut link: &'n mut Link<K, V>,
    key: &Q,
) -> Option<&'n mut V> {
    loop {
        let node = Arc::make_mut(link.as_mut()?);
        link = match key.cmp(node.pair.0.borrow()) {
            Ordering::Less => &mut node.left,
            Ordering::Greater => &mut node.right,
            Ordering::Equal => return Some(&mut Arc::make_mut(&mut node.pair).1),
        };
    }
}

/// Inserts a new key.
fn insert<K: Ord, V>(link: &mut Link<K, V>, mut new: Node<K, V>) {
    match link {
        Some(node) if node.is_above(&new) => {
            let node = Arc::make_mut(node);
            let side = if new.pair.0 < node.pair.0 { &mut node.left } else { &mut node.right };
            insert(side, new);
        }
        _ => {
            let (left, _, right) = split(link.take(), &new.pair.0);
            (new.left, new.right) = (left, right);
            *link = Some(Arc::new(new));
        }
    }
}

/// Removes an existing key.
fn remove<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized>(link: &mut Link<K, V>, key: &Q) -> Option<Pair<K, V>> {
    let node = link.as_mut()?;
    match key.cmp(node.pair.0.borrow()) {
        Ordering::Less => remove(&mut Arc::make_mut(node).left, key),
        Ordering::Greater => remove(&mut Arc::make_mut(node).right, key),
        Ordering::Equal => {
            let removed = Arc::clone(&node.pair);
            *link = merge(node.left.clone(), node.right.clone());
            Some(removed)
        }
    }
}

type Split<K, V> = (Link<K, V>, Option<Pair<K, V>>, Link<K, V>);

/// Splits a tree into the keys before `key`, the key itself, and the keys after it.
fn split<K: Ord, V>(link: Link<K, V>, key: &K) -> Split<K, V> {
    let Some(mut node) = link else { return (None, None, None) };
    match key.cmp(&node.pair.0) {
        Ordering::Equal => (node.left.clone(), Some(Arc::clone(&node.pair)), node.right.clone()),
        Ordering::Less => {
            let own = Arc::make_mut(&mut node);
            let (left, pair, right) = split(own.left.take(), key);
            own.left = right;
            (left, pair, Some(node))
        }
        Ordering::Greater => {
            let own = Arc::make_mut(&mut node);
            let (left, pair, right) = split(own.right.take(), key);
            own.right = left;
            (Some(node), pair, right)
        }
    }
}

/// Joins two trees; all keys of the first are smaller than those of the second.
fn merge<K: Ord, V>(left: Link<K, V>, right: Link<K, V>) -> Link<K, V> {
    let (mut left, mut right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => return left.or(right),
    };
    if left.is_above(&right) {
        let own = Arc::make_mut(&mut left);
        own.right = merge(own.right.take(), Some(right));
        Some(left)
    } else {
        let own = Arc::make_mut(&mut right);
        own.left = merge(Some(left), own.left.take());
        Some(right)
    }
}

fn differences<K: Ord, V: PartialEq>(old: &Link<K, V>, new: &Link<K, V>, found: &mut Vec<Difference<K, V>>) {
    let (old, new) = match (old, new) {
        (None, None) => return,
        (Some(old), Some(new)) if Arc::ptr_eq(old, new) => return,
        (Some(old), None) => {
            differences(&old.left, &None, found);
            found.push(Difference { old: Some(Arc::clone(&old.pair)), new: None });
            return differences(&old.right, &None, found);
        }
        (None, Some(new)) => {
            differences(&None, &new.left, found);
            found.push(Difference { old: None, new: Some(Arc::clone(&new.pair)) });
            return differences(&None, &new.right, found);
        }
        (Some(old), Some(new)) => (old, new),
    };
    // The tree with the higher root is split there, and the other one at the same key.
    if new.is_above(old) {
        let (left, pair, right) = split(Some(Arc::clone(old)), &new.pair.0);
        differences(&left, &new.left, found);
        compare(pair, Some(Arc::clone(&new.pair)), found);
        differences(&right, &new.right, found);
    } else {
        let (left, pair, right) = split(Some(Arc::clone(new)), &old.pair.0);
        differences(&old.left, &left, found);
        compare(Some(Arc::clone(&old.pair)), pair, found);
        differences(&old.right, &right, found);
    }
}

fn compare<K, V: PartialEq>(
    old: Option<Pair<K, V>>,
    new: Option<Pair<K, V>>,
    found: &mut Vec<Difference<K, V>>,
) {
    let same = match (&old, &new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old.1 == new.1,
        _ => false,
    };
    if !same {
        found.push(Difference { old, new });
    }
}

/// Equal key sets have the same shape, so the nodes are compared pairwise.
fn equal<K: PartialEq, V: PartialEq>(a: &Link<K, V>, b: &Link<K, V>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            Arc::ptr_eq(a, b)
                || ((Arc::ptr_eq(&a.pair, &b.pair) || a.pair == b.pair)
                    && equal(&a.left, &b.left)
                    && equal(&a.right, &b.right))
        }
        _ => false,
    }
}

/// Iterates over the entries in key order.
#[derive(Clone)]
pub struct Iter<'m, K, V> {
    /// Nodes whose left subtree is done, the next one on top.
    path: Vec<&'m Node<K, V>>,
}

impl<'m, K, V> Iter<'m, K, V> {
    fn descend(&mut self, mut link: &'m Link<K, V>) {
        while let Some(node) = link {
            self.path.push(node);
            link = &node.left;
        }
    }
}

impl<'m, K, V> Iterator for Iter<'m, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.path.pop()?;
        self.descend(&node.right);
        Some((&node.pair.0, &node.pair.1))
    }
}

impl<K, V> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        Self {
            pair: Arc::clone(&self.pair),
            priority: self.priority,
            left: self.left.clone(),
            right: self.right.clone(),
        }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && equal(&self.root, &other.root)
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// If the key is absent.
    fn index(&self, key: &Q) -> &V {
        match self.get(key) {
            Some(value) => value,
            None => panic!("no entry for the key"),
        }
    }
}

impl<'m, K, V> IntoIterator for &'m SharedMap<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, K, V>;

    fn into_iter(self) -> Iter<'m, K, V> {
        self.iter()
    }
}

impl<K: Ord + Hash + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut map = Self::new();
        for (key, value) in items {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u8),
        Remove(u8),
        Change(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u8..40, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            (0u8..40).prop_map(Step::Remove),
            (0u8..40).prop_map(Step::Change),
        ];
        proptest::collection::vec(step, 0..80)
    }

    fn apply(step: &Step, map: &mut SharedMap<u8, u8>, model: &mut BTreeMap<u8, u8>) {
        match step {
            Step::Insert(key, value) => assert_eq!(map.insert(*key, *value), model.insert(*key, *value)),
            Step::Remove(key) => assert_eq!(map.remove(key), model.remove(key)),
            Step::Change(key) => {
                let (of_map, of_model) = (map.get_mut(key), model.get_mut(key));
                assert_eq!(of_map, of_model);
                if let (Some(a), Some(b)) = (of_map, of_model) {
                    *a = a.wrapping_add(1);
                    *b = b.wrapping_add(1);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_whose_clones_stay_as_they_were(first in steps(), second in steps()) {
            let (mut map, mut model) = (SharedMap::new(), BTreeMap::new());
            first.iter().for_each(|step| apply(step, &mut map, &mut model));
            let (old, old_model) = (map.clone(), model.clone());
            second.iter().for_each(|step| apply(step, &mut map, &mut model));
            for (map, model) in [(&map, &model), (&old, &old_model)] {
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map, &model.clone().into_iter().collect(), "equal however it was made");
            }
            prop_assert_eq!(map == old, model == old_model);
            let keys: std::collections::BTreeSet<u8> = model.keys().chain(old_model.keys()).copied().collect();
            let expected: Vec<_> = keys
                .iter()
                .map(|key| (*key, old_model.get(key).copied(), model.get(key).copied()))
                .filter(|(_, old, new)| old != new)
                .collect();
            let found: Vec<_> = old
                .differences(&map)
                .iter()
                .map(|found| {
                    let (old, new) = (found.before(), found.after());
                    (*old.or(new).unwrap().0, old.map(|old| *old.1), new.map(|new| *new.1))
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn ten_thousand_keys_in_order_make_a_shallow_tree() {
        fn depth<K, V>(link: &Link<K, V>) -> usize {
            link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
        }
        let map: SharedMap<u32, ()> = (0..10_000).map(|key| (key, ())).collect();
        assert!(depth(&map.root) < 50, "{}", depth(&map.root));
    }

    #[test]
    fn values_are_made_where_they_are_missing() {
        let mut map: SharedMap<String, Vec<u8>> = SharedMap::new();
        map.entry_or_default("a".into()).push(1);
        map.entry_or_default("a".into()).push(2);
        map.entry_or_insert_with("b".into(), || vec![9]).push(3);
        assert_eq!((map["a"].clone(), map["b"].clone()), (vec![1, 2], vec![9, 3]));
        assert!(map.get_mut("c").is_none() && map.remove("c").is_none());
    }
}
