//! What the messages of a page hold: a node of a tree, a change to one, or the trees' names and root pages.
//!
//! sled trusts these bytes, because their checksum is right. A database that was made to harm can so end the process,
//! or keep it in a loop for ever, therefore they are checked before sled reads them.

use std::collections::BTreeMap;

use crate::disk::log::{BLOB_LINK, BLOB_META, BLOB_NODE, LINK, META, NODE, varint};

pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

pub struct Node {
    /// The least key that belongs to this page.
    pub low: Vec<u8>,
    /// The `low` of the page `next`.
    pub high: Vec<u8>,
    pub prefix: Vec<u8>,
    pub next: u64,
    /// Whether the child that is being merged, if any, is one of this page's. sled looks for it until it finds it.
    is_merging_own: bool,
    pub content: NodeContent,
}

pub enum NodeContent {
    Leaf(Pairs),
    /// Each child's `low` and number.
    Index(Vec<(Vec<u8>, u64)>),
}

impl Node {
    pub fn parse(content: &[u8]) -> Option<Self> {
        let mut rest = content;
        let next = varint(&mut rest)?;
        let merging_child = varint(&mut rest)?;
        let (&[_merging, prefix_length], mut rest) = rest.split_first_chunk::<2>()?;
        let low = take_bytes(&mut rest)?;
        let high = take_bytes(&mut rest)?;
        let prefix = low.get(..usize::from(prefix_length))?.to_vec();
        let (&kind, mut rest) = rest.split_first()?;
        let count = usize::try_from(varint(&mut rest)?).ok()?;
        let keys = (0..count).map(|_| take_bytes(&mut rest)).collect::<Option<Vec<_>>>()?;
        let keys = keys.into_iter().map(|key| [&prefix, key].concat());
        let mut is_merging_own = merging_child == 0;
        let content = if kind == 0 {
            let values = (0..count).map(|_| take_bytes(&mut rest)).collect::<Option<Vec<_>>>()?;
            NodeContent::Leaf(keys.zip(values.into_iter().map(<[u8]>::to_vec)).collect())
        } else {
            let children = (0..count).map(|_| varint(&mut rest)).collect::<Option<Vec<_>>>()?;
            is_merging_own |= children.contains(&merging_child);
            // `merging_child` is 0 for none, which is not a tree's page
            NodeContent::Index(keys.zip(children).filter(|(_, child)| *child != merging_child).collect())
        };
        Some(Node { low: low.to_vec(), high: high.to_vec(), prefix, next, is_merging_own, content })
    }

    /// Whether neither the next page nor a child is the page itself, and the next one holds later keys: sled would walk
    /// in a circle.
    fn leads_away_from(&self, page: u64) -> bool {
        let is_child = match &self.content {
            NodeContent::Leaf(_) => false,
            NodeContent::Index(children) => children.iter().any(|(_, child)| *child == page),
        };
        !is_child && self.is_merging_own && (self.next == 0 || (self.next != page && self.high > self.low))
    }
}

/// Whether sled can read what a message of this kind says about a page.
pub fn is_sound(kind: u8, page: u64, content: &[u8]) -> bool {
    match kind {
        NODE | BLOB_NODE => Node::parse(content).is_some_and(|node| node.leads_away_from(page)),
        LINK | BLOB_LINK => is_link(content),
        META | BLOB_META => roots(content).1,
        _ => true,
    }
}

/// The trees' names and root pages, and whether that is all that the content holds.
pub fn roots(mut meta: &[u8]) -> (Vec<(Vec<u8>, u64)>, bool) {
    let mut roots = Vec::new();
    while let Some(name) = take_bytes(&mut meta) {
        let Some(root) = varint(&mut meta) else { return (roots, false) };
        roots.push((name.to_vec(), root));
    }
    (roots, meta.is_empty())
}

/// Whether this is a link: a kind, then the key, value or page number that follows from it, and nothing else.
fn is_link(link: &[u8]) -> bool {
    let Some((kind, mut rest)) = link.split_first() else { return false };
    let is_read = match kind {
        0 => take_bytes(&mut rest).and_then(|_| take_bytes(&mut rest)).is_some(),
        1 => take_bytes(&mut rest).is_some(),
        2 => varint(&mut rest).is_some(),
        3 | 4 => true,
        _ => false,
    };
    is_read && rest.is_empty()
}

/// Apply a link to a leaf's pairs: kind 0 sets a value, kind 1 removes it.
pub fn change_pair(pairs: &mut Pairs, prefix: &[u8], link: &[u8]) {
    let Some((kind, mut rest)) = link.split_first() else { return };
    let Some(key) = take_bytes(&mut rest).map(|key| [prefix, key].concat()) else { return };
    match (kind, take_bytes(&mut rest)) {
        (0, Some(value)) => drop(pairs.insert(key, value.to_vec())),
        (1, _) => drop(pairs.remove(&key)),
        _ => {}
    }
}

/// Apply a link to an index page's children.
///
/// sled merges a child that became too small into its left neighbour. The index page first names the child (kind 2) and
/// confirms once the neighbour has its pairs (kind 3); then sled frees the child, and another tree may get its number.
/// Until the neighbour has the pairs it links to the child, so the index can drop the child from the first step on.
pub fn remove_merged_child(children: &mut Vec<(Vec<u8>, u64)>, link: &[u8]) {
    if let Some((2, mut rest)) = link.split_first()
        && let Some(child) = varint(&mut rest)
    {
        children.retain(|(_, other)| *other != child);
    }
}

/// A length, then that many bytes.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (found, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(found)
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/page.rs"]
mod tests;
