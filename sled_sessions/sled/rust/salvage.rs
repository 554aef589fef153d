//! What can still be read of a damaged database: its log, taken apart without sled.
//!
//! The log holds pages: `Node` replaces a page, `Link` changes one key or child of it, `Free` ends it. `META` names the
//! trees and their root pages. All readable messages are brought into the order of the log, then each tree is walked
//! from its root. Leaves that no root leads to any more are given out without a tree's name.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use pyo3::{prelude::*, types::PyBytes};

use crate::{
    buffer::Folder,
    conf::{SEGMENT_SIZE, stored_config},
    error::Result,
    files, guard,
    locks::lock,
    log::{self, BLOB_LINK, BLOB_META, BLOB_NODE, FREE, LINK, Log, META, Message, NODE},
};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type PyPairs<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;

/// Where a message's content is: in the log, or, for a blob, in the file that is named there.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    length: usize,
    blob_kind: Option<u8>,
}

#[derive(Default)]
struct Page {
    base: Option<Place>,
    links: Vec<Place>,
}

enum Data {
    Leaf(Pairs),
    Index(Vec<u64>),
}

struct Node {
    prefix: Vec<u8>,
    next: u64,
    data: Data,
}

#[doc = doc!("Salvage")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct Salvage {
    folder: PathBuf,
    log: Log,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<u64, Page>,
    /// Pages to give out, with their tree's number in `names`.
    todo: VecDeque<(usize, u64)>,
    seen: BTreeSet<u64>,
    names: Vec<Vec<u8>>,
    /// Places in the log, and pages, that could not be read.
    lost: u64,
}

#[pymethods]
impl Salvage {
    #[new]
    fn new(py: Python<'_>, path: Folder) -> Result<Self> {
        let Folder(folder) = path;
        guard::call(py, || {
            let at = |error| files::at(error, &folder.join("db"));
            let stored = stored_config(&folder).ok().flatten().or_else(|| log::told_segment_size(&folder));
            let log = Log::open(&folder, stored.unwrap_or(SEGMENT_SIZE)).map_err(at)?;
            let salvage = Salvage { folder: folder.clone(), log, state: Mutex::default() };
            salvage.scan().map_err(at)?;
            Ok(salvage)
        })
    }

    #[doc = doc!("Salvage.page")]
    fn page<'py>(&self, py: Python<'py>) -> Result<Option<(Option<Bound<'py, PyBytes>>, PyPairs<'py>)>> {
        let page = guard::call(py, || Ok(self.next_page()))?;
        let bytes = |data: Vec<u8>| PyBytes::new(py, &data);
        Ok(page.map(|(name, pairs)| {
            (name.map(bytes), pairs.into_iter().map(|(key, value)| (bytes(key), bytes(value))).collect())
        }))
    }

    #[doc = doc!("Salvage.lost")]
    #[getter]
    fn lost(&self) -> u64 {
        self.state().lost
    }
}

impl Salvage {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Go through the log in its order and note where each page's parts are.
    fn scan(&self) -> io::Result<()> {
        let mut state = self.state();
        let size = self.log.segment_size as u64;
        let mut order = Vec::new();
        for segment in self.log.segments()? {
            match segment.header {
                Some(header) => order.push((header.lsn / size, segment)),
                None => {
                    let bytes = self.log.read(&segment)?;
                    if let Some(message) = self.log.first_message(&bytes, |_| true) {
                        state.lost += 1;
                        order.push((message.segment, segment));
                    } else if bytes.iter().any(|byte| *byte != 0) {
                        state.lost += 1;
                    }
                }
            }
        }
        order.sort_by_key(|(number, _)| *number);
        let mut meta = None;
        let mut end = 0;
        for (number, segment) in order {
            let bytes = self.log.read(&segment)?;
            let mut messages = self.log.messages(&bytes, number);
            loop {
                for message in &mut messages {
                    state.apply(&message, segment.offset, &mut meta);
                }
                end = number * size + messages.at as u64;
                match self.log.search(&bytes, messages.at, |message| message.segment == number) {
                    Some((next, _)) => {
                        state.lost += 1;
                        messages.at = next;
                    }
                    None => break,
                }
            }
        }
        let end = self.log.rounded(end);
        if log::last_snapshot(&self.folder)?.max(log::noted_end(&self.folder)).is_some_and(|position| position > end) {
            state.lost += 1; // the end of the log
        }
        if let Some(meta) = meta.and_then(|place| self.content(place)) {
            state.queue_roots(&meta);
        }
        Ok(())
    }

    fn next_page(&self) -> Option<(Option<Vec<u8>>, Pairs)> {
        let mut state = self.state();
        while let Some((tree, number)) = state.todo.pop_front() {
            if !state.seen.insert(number) {
                continue;
            }
            let mut lost = 0;
            let node = state.pages.get(&number).and_then(|page| self.node(page, &mut lost));
            state.lost += lost;
            let Some(node) = node else {
                state.lost += 1;
                continue;
            };
            if node.next != 0 {
                state.todo.push_back((tree, node.next));
            }
            match node.data {
                Data::Leaf(pairs) => return Some((Some(state.names[tree].clone()), pairs)),
                Data::Index(children) => state.todo.extend(children.into_iter().map(|child| (tree, child))),
            }
        }
        while let Some((number, page)) = state.pages.pop_last() {
            if state.seen.contains(&number) {
                continue;
            }
            let pairs = match self.node(&page, &mut state.lost) {
                Some(Node { data: Data::Leaf(pairs), .. }) => pairs,
                Some(_) => continue,
                // Without its base a page's keys lack their beginning, but what was written since is there.
                None => {
                    state.lost += 1;
                    let mut pairs = Pairs::new();
                    self.links(&page, &mut state.lost).iter().for_each(|link| change_pair(&mut pairs, &[], link));
                    pairs
                }
            };
            return Some((None, pairs));
        }
        None
    }

    /// A page as its links have left it; links that cannot be read are counted in `lost`.
    fn node(&self, page: &Page, lost: &mut u64) -> Option<Node> {
        let mut node = parse_node(&self.content(page.base?)?)?;
        for link in self.links(page, lost) {
            match &mut node.data {
                Data::Leaf(pairs) => change_pair(pairs, &node.prefix, &link),
                Data::Index(children) => give_up_child(children, &link),
            }
        }
        Some(node)
    }

    fn links(&self, page: &Page, lost: &mut u64) -> Vec<Vec<u8>> {
        let links: Vec<_> = page.links.iter().filter_map(|link| self.content(*link)).collect();
        *lost += (page.links.len() - links.len()) as u64;
        links
    }

    fn content(&self, place: Place) -> Option<Vec<u8>> {
        let content = self.log.read_range(place.offset, place.length).ok()?;
        match place.blob_kind {
            Some(kind) => log::read_blob(&self.folder, kind, &content).ok()?,
            None => Some(content),
        }
    }
}

impl State {
    fn apply(&mut self, message: &Message, segment: u64, meta: &mut Option<Place>) {
        let place = Place {
            offset: segment + message.body.start as u64,
            length: message.body.len(),
            blob_kind: message.is_blob().then_some(message.kind),
        };
        match message.kind {
            META | BLOB_META => *meta = Some(place),
            NODE | BLOB_NODE => {
                self.pages.insert(message.page, Page { base: Some(place), links: Vec::new() });
            }
            LINK | BLOB_LINK => self.pages.entry(message.page).or_default().links.push(place),
            FREE => drop(self.pages.remove(&message.page)),
            _ => {}
        }
    }

    fn queue_roots(&mut self, mut meta: &[u8]) {
        while let Some(name) = bytes(&mut meta) {
            let Some(root) = log::varint(&mut meta) else { break };
            self.todo.push_back((self.names.len(), root));
            self.names.push(name.to_vec());
        }
    }
}

fn change_pair(pairs: &mut Pairs, prefix: &[u8], link: &[u8]) {
    let Some((kind, mut rest)) = link.split_first() else { return };
    let Some(key) = bytes(&mut rest).map(|key| [prefix, key].concat()) else { return };
    match (kind, bytes(&mut rest)) {
        (0, Some(value)) => drop(pairs.insert(key, value.to_vec())),
        (1, _) => drop(pairs.remove(&key)),
        _ => {}
    }
}

/// A child that became too small is merged into its left neighbour. The index page first names it (kind 2) and, once the
/// neighbour has its pairs, confirms (kind 3); then the child is freed, and its number may go to another tree. As long
/// as the neighbour does not have the pairs it leads to the child, so the index is not needed from the first step on.
fn give_up_child(children: &mut Vec<u64>, link: &[u8]) {
    if let Some((2, mut rest)) = link.split_first()
        && let Some(child) = log::varint(&mut rest)
    {
        children.retain(|other| *other != child);
    }
}

fn parse_node(content: &[u8]) -> Option<Node> {
    let mut rest = content;
    let next = log::varint(&mut rest)?;
    let merging_child = log::varint(&mut rest)?;
    let (&[_merging, prefix_length], mut rest) = rest.split_first_chunk::<2>()?;
    let low = bytes(&mut rest)?;
    bytes(&mut rest)?; // the upper bound
    let prefix = low.get(..usize::from(prefix_length))?.to_vec();
    let (&kind, mut rest) = rest.split_first()?;
    let count = usize::try_from(log::varint(&mut rest)?).ok()?;
    let keys = (0..count).map(|_| bytes(&mut rest)).collect::<Option<Vec<_>>>()?;
    let data = if kind == 0 {
        let values = (0..count).map(|_| bytes(&mut rest)).collect::<Option<Vec<_>>>()?;
        let pairs = keys.iter().zip(values).map(|(key, value)| ([&prefix, *key].concat(), value.to_vec()));
        Data::Leaf(pairs.collect())
    } else {
        let mut children = (0..count).map(|_| log::varint(&mut rest)).collect::<Option<Vec<_>>>()?;
        children.retain(|child| *child != merging_child); // 0 for none is no page of a tree
        Data::Index(children)
    };
    Some(Node { prefix, next, data })
}

/// A length, then that many bytes.
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(log::varint(rest)?).ok()?;
    let (found, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(found)
}
