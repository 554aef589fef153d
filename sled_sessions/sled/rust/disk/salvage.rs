//! Reading a damaged database without sled.
//!
//! The log holds pages: a `NODE` replaces a page, a `LINK` changes one key or child of it, a `FREE` ends it. The `META`
//! page names the trees and their root pages. All readable messages are put into the order of the log, then each tree
//! is walked from its root. Leaves that cannot be reached from a root come last, without a tree's name.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::PathBuf,
};

use crate::{
    disk::{
        conf::{SEGMENT_SIZE, stored_segment_size},
        end::End,
        log::{
            BLOB_LINK, BLOB_META, BLOB_NODE, FREE, LINK, Log, META, Message, NODE, Segment, detect_segment_size,
            last_snapshot, read_blob,
        },
        page::{self, Node, NodeContent, Pairs, change_pair, remove_merged_child},
        snapshot::Snapshot,
    },
    error::{At, Result},
};

/// Where a message's content is: in the log, or, for a blob, in the file that the log names.
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

/// A page that a tree leads to.
struct Reference {
    /// The tree's index in `names`.
    tree: usize,
    /// What the page's `low` must be. Otherwise its number has been used again, by any tree, and the page that led to
    /// it should say so, but has lost its last change.
    low: Vec<u8>,
    page: u64,
}

pub struct Salvager {
    source: Source,
    pages: BTreeMap<u64, Page>,
    /// Pages to read.
    queue: VecDeque<Reference>,
    seen: BTreeSet<u64>,
    names: Vec<Vec<u8>>,
    /// Places in the log, and pages, that could not be read.
    pub lost: u64,
}

struct Source {
    folder: PathBuf,
    log: Log,
}

impl Salvager {
    pub fn open(folder: PathBuf) -> Result<Self> {
        let db = folder.join("db");
        let stored = stored_segment_size(&folder).ok().flatten().or_else(|| detect_segment_size(&folder));
        let log = Log::open(&folder, stored.unwrap_or(SEGMENT_SIZE)).at(&db)?;
        let mut salvager = Salvager {
            source: Source { folder, log },
            pages: BTreeMap::new(),
            queue: VecDeque::new(),
            seen: BTreeSet::new(),
            names: Vec::new(),
            lost: 0,
        };
        salvager.scan().at(&db)?;
        Ok(salvager)
    }

    /// Go through the log in order and note where each page's parts are.
    fn scan(&mut self) -> io::Result<()> {
        let Source { folder, log } = &self.source;
        let size = log.segment_size as u64;
        let snapshot = last_snapshot(folder)?;
        let segments = log.segments()?;
        let used = self.source.used_segments(&segments)?;
        let found = segments.iter().map(|segment| segment.offset).collect();
        self.lost += used.difference(&found).count() as u64;
        let mut order = Vec::new();
        for segment in segments {
            if let Some(header) = segment.header {
                order.push((header.lsn / size, segment));
                continue;
            }
            let bytes = log.read(&segment)?;
            let first = log.first_message(&bytes, |_| true);
            self.lost += u64::from(used.contains(&segment.offset) || bytes.iter().any(|byte| *byte != 0));
            order.extend(first.map(|message| (message.segment, segment)));
        }
        order.sort_by_key(|(number, _)| *number);
        let newest = order.last().map_or(0, |(number, _)| *number);
        let (mut meta, mut end) = (None, 0);
        for (number, segment) in order {
            let bytes = log.read(&segment)?;
            let mut messages = log.messages(&bytes, number);
            loop {
                for message in &mut messages {
                    note_message(&mut self.pages, &mut meta, &message, segment.offset);
                }
                end = number * size + messages.at as u64;
                match log.search(&bytes, messages.at, |message| message.segment == number) {
                    Some((next, _)) => {
                        self.lost += 1;
                        messages.at = next;
                    }
                    None => break,
                }
            }
            self.lost += u64::from(number < newest && !log.is_complete(&bytes, messages.at, number));
        }
        if snapshot
            .max(End::read(folder).map(|end| end.position))
            .is_some_and(|position| position > log.continuation(end))
        {
            self.lost += 1; // the end of the log
        }
        if let Some(meta) = meta.and_then(|place| self.source.content(place)) {
            self.queue_roots(&meta);
        }
        Ok(())
    }

    fn queue_roots(&mut self, meta: &[u8]) {
        for (name, page) in page::roots(meta).0 {
            self.queue.push_back(Reference { tree: self.names.len(), low: Vec::new(), page });
            self.names.push(name);
        }
    }

    /// The next page's tree and pairs; the name is None for a leaf that cannot be reached from a root.
    pub fn next_page(&mut self) -> Option<(Option<Vec<u8>>, Pairs)> {
        while let Some(Reference { tree, low, page }) = self.queue.pop_front() {
            if self.seen.contains(&page) {
                continue;
            }
            let node = self.pages.get(&page).and_then(|page| self.source.node(page, &mut self.lost));
            let Some(node) = node.filter(|node| node.low == low) else {
                self.lost += 1;
                continue;
            };
            self.seen.insert(page);
            if node.next != 0 {
                self.queue.push_back(Reference { tree, low: node.high, page: node.next });
            }
            match node.content {
                NodeContent::Leaf(pairs) => return Some((Some(self.names[tree].clone()), pairs)),
                NodeContent::Index(children) => {
                    self.queue.extend(children.into_iter().map(|(low, page)| Reference { tree, low, page }));
                }
            }
        }
        while let Some((number, page)) = self.pages.pop_last() {
            if self.seen.contains(&number) {
                continue;
            }
            match self.source.node(&page, &mut self.lost) {
                Some(Node { content: NodeContent::Leaf(pairs), .. }) => return Some((None, pairs)),
                Some(_) => {}
                // Without the page's base, its newer writes are readable under keys that lack their beginning.
                None => {
                    self.lost += 1;
                    let mut pairs = Pairs::new();
                    let links = self.source.links(&page, &mut self.lost);
                    links.iter().for_each(|link| change_pair(&mut pairs, &[], link));
                    return Some((None, pairs));
                }
            }
        }
        None
    }
}

impl Source {
    /// The offsets of the segments that may have held messages. A file that was cut short has lost the last of them.
    fn used_segments(&self, segments: &[Segment]) -> io::Result<BTreeSet<u64>> {
        let size = self.log.segment_size as u64;
        let snapshot = last_snapshot(&self.folder)?;
        let end = self.log.end(segments)?;
        let offsets = segments.iter().map(|segment| segment.offset);
        if let Some(headers) = End::read(&self.folder).and_then(|note| note.headers(end, snapshot)) {
            let length = headers.len() as u64 * size;
            let noted = (0..).step_by(self.log.segment_size).zip(headers);
            let noted = noted.filter_map(|(offset, had_header)| had_header.then_some(offset));
            return Ok(noted.chain(offsets.filter(|offset| *offset >= length)).collect());
        }
        // On opening, sled empties the segments that the snapshot does not name. Later it takes the first one that is
        // free, so those before a newer segment were in use.
        let is_newer = |segment: &&Segment| segment.header.is_some_and(|header| header.lsn >= snapshot.unwrap_or(0));
        let last = segments.iter().rfind(is_newer).map_or(0, |segment| segment.offset);
        let named = Snapshot::read(&self.folder).unwrap_or_default().offsets;
        let named = named.into_iter().map(|offset| offset - offset % size);
        Ok(offsets.filter(|offset| *offset < last).chain(named).collect())
    }

    /// A page with its links applied; unreadable links are added to `lost`.
    fn node(&self, page: &Page, lost: &mut u64) -> Option<Node> {
        let mut node = Node::parse(&self.content(page.base?)?)?;
        for link in self.links(page, lost) {
            match &mut node.content {
                NodeContent::Leaf(pairs) => change_pair(pairs, &node.prefix, &link),
                NodeContent::Index(children) => remove_merged_child(children, &link),
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
            Some(kind) => read_blob(&self.folder, kind, &content).ok()?,
            None => Some(content),
        }
    }
}

fn note_message(pages: &mut BTreeMap<u64, Page>, meta: &mut Option<Place>, message: &Message, segment: u64) {
    let place = Place {
        offset: segment + message.body.start as u64,
        length: message.body.len(),
        blob_kind: message.is_blob().then_some(message.kind),
    };
    match message.kind {
        META | BLOB_META => *meta = Some(place),
        NODE | BLOB_NODE => drop(pages.insert(message.page, Page { base: Some(place), links: Vec::new() })),
        LINK | BLOB_LINK => pages.entry(message.page).or_default().links.push(place),
        FREE => drop(pages.remove(&message.page)),
        _ => {}
    }
}
