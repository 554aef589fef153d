//! What can still be read of a damaged database: its log, taken apart without sled.
//!
//! The log holds pages: `Node` replaces a page, `Link` changes one key of it, `Free` ends it. The page `META` names the
//! trees and their root pages. All readable messages are brought into the order of the log, then each tree is walked
//! from its root. Leaves that no root leads to any more are given out without a tree's name.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{prelude::*, types::PyBytes};

use crate::{
    config::{SEGMENT_SIZE, stored_config},
    error::{Error, Result},
    guard,
    log::{self, BLOB_LINK, BLOB_META, BLOB_NODE, FREE, LINK, Log, META, Message, NODE},
};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type PyPairs<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;

/// Where a message's content is: in the log, or in a file of its own.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    length: usize,
    is_blob: bool,
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
    fn new(py: Python<'_>, path: PathBuf) -> Result<Self> {
        let folder = path;
        guard::call(py, || {
            let at = |error: io::Error| Error::SledAt(error.into(), folder.join("db"));
            let stored = stored_config(&folder).ok().flatten().filter(|size| size.is_power_of_two());
            let log = Log::open(&folder, stored.unwrap_or(SEGMENT_SIZE)).map_err(at)?;
            let salvage = Salvage { folder: folder.clone(), log, state: Mutex::default() };
            salvage.scan().map_err(at)?;
            Ok(salvage)
        })
    }

    /// The next page: its tree, or None for one that no tree leads to, and its pairs. None at the end.
    fn page<'py>(&self, py: Python<'py>) -> Result<Option<(Option<Bound<'py, PyBytes>>, PyPairs<'py>)>> {
        let page = guard::call(py, || Ok(self.next_page()))?;
        let bytes = |data: Vec<u8>| PyBytes::new(py, &data);
        Ok(page.map(|(name, pairs)| {
            (name.map(bytes), pairs.into_iter().map(|(key, value)| (bytes(key), bytes(value))).collect())
        }))
    }

    /// How many places in the log, and pages, could not be read.
    #[getter]
    fn lost(&self) -> u64 {
        self.state().lost
    }
}

impl Salvage {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                    let first = self.log.search(&bytes, Log::first(), |_| true);
                    if let Some(message) = first.and_then(|at| log::message(&bytes, at)) {
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
            let mut at = Log::first();
            while self.log.fits(at) && at < bytes.len() {
                match log::message(&bytes, at) {
                    Some(message) if message.segment == number => {
                        at = message.body.end;
                        end = number * size + at as u64;
                        state.apply(&message, segment.offset, &mut meta);
                    }
                    _ => match self.log.search(&bytes, at, |message| message.segment == number) {
                        Some(next) => {
                            state.lost += 1;
                            at = next;
                        }
                        None => break,
                    },
                }
            }
        }
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
            let Some(node) = state.pages.get(&number).and_then(|page| self.node(page)) else {
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
            let pairs = match self.node(&page) {
                Some(Node { data: Data::Leaf(pairs), .. }) => pairs,
                Some(_) => continue,
                // Without its base a page's keys lack their beginning, but what was written since is there.
                None => {
                    state.lost += 1;
                    let mut pairs = Pairs::new();
                    self.apply_links(&page, &[], &mut pairs);
                    pairs
                }
            };
            return Some((None, pairs));
        }
        None
    }

    fn node(&self, page: &Page) -> Option<Node> {
        let mut node = parse_node(&self.content(page.base?)?)?;
        if let Data::Leaf(pairs) = &mut node.data {
            self.apply_links(page, &node.prefix, pairs);
        }
        Some(node)
    }

    fn apply_links(&self, page: &Page, prefix: &[u8], pairs: &mut Pairs) {
        for link in &page.links {
            let Some(content) = self.content(*link) else { continue };
            let Some((kind, mut rest)) = content.split_first() else { continue };
            let Some(key) = bytes(&mut rest).map(|key| [prefix, key].concat()) else { continue };
            match (kind, bytes(&mut rest)) {
                (0, Some(value)) => drop(pairs.insert(key, value.to_vec())),
                (1, _) => drop(pairs.remove(&key)),
                _ => {}
            }
        }
    }

    fn content(&self, place: Place) -> Option<Vec<u8>> {
        let content = self.log.read_range(place.offset, place.length).ok()?;
        if !place.is_blob {
            return Some(content);
        }
        let name = i64::from_le_bytes(content.try_into().ok()?).to_string();
        let blob = fs::read(self.folder.join("blobs").join(name)).ok()?;
        let (crc, rest) = blob.split_first_chunk::<4>()?;
        (crc32fast::hash(rest) == u32::from_le_bytes(*crc)).then(|| rest[1..].to_vec())
    }
}

impl State {
    fn apply(&mut self, message: &Message, segment: u64, meta: &mut Option<Place>) {
        let place = Place {
            offset: segment + message.body.start as u64,
            length: message.body.len(),
            is_blob: [BLOB_META, BLOB_NODE, BLOB_LINK].contains(&message.kind),
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

fn parse_node(content: &[u8]) -> Option<Node> {
    let mut rest = content;
    let next = log::varint(&mut rest)?;
    log::varint(&mut rest)?; // a child that is being merged
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
        Data::Index((0..count).map(|_| log::varint(&mut rest)).collect::<Option<Vec<_>>>()?)
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
