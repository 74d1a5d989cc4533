//! What lost segments cost: which files of which trees do not come back whole, each part of a tree looked at once.
//!
//! Trees share what did not change, by location: the answer for a node is kept, and serves every tree that has it.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest;
use holdfast_engine::content::{Content, Piece, parse_group_list, parse_piece_list, total_len};
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::group::PageGroup;
use holdfast_engine::node::{Child, Node};
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{Error as EngineError, Location, Origin, Role};

use crate::Error;
use crate::reader::{CACHE_BYTES, Reader, SegmentCache, is_of_one_segment, unwrap_outside};

/// Answers that are kept about segments, lists and nodes; beyond, they are found again.
const KNOWN_MAX: usize = 1 << 20;

type Segment = (Origin, u32);

/// What is lost of one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeCost {
    /// Files that rest on lost segments, or that cannot be read for another reason than the next.
    pub files: u64,
    /// Their bytes, lost or not.
    pub bytes: u64,
    /// Further files: they rest on segments that no index run lists, so that nothing is known of their packs.
    pub unlisted: u64,
    /// Entries of all kinds in parts of the tree that cannot be read: their names are lost as well.
    pub unnamed: u64,
    /// Bytes of files among them.
    pub unnamed_bytes: u64,
    /// The root cannot be read: how much is lost is not known from the tree.
    pub is_lost: bool,
    /// Numbers of the packs that cost something here, in order.
    pub packs: Vec<u32>,
}

impl TreeCost {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) {
        let sum = u64::saturating_add;
        self.files = sum(self.files, other.files);
        self.bytes = sum(self.bytes, other.bytes);
        self.unlisted = sum(self.unlisted, other.unlisted);
        self.unnamed = sum(self.unnamed, other.unnamed);
        self.unnamed_bytes = sum(self.unnamed_bytes, other.unnamed_bytes);
        self.is_lost |= other.is_lost;
        unite(&mut self.packs, &other.packs);
    }
}

/// What a pack costs in all trees that were walked.
#[derive(Debug, Clone, Default)]
pub struct PackCost {
    /// Versions of files (path, time of change, size) that rest on what is lost of it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries in parts of trees that are lost with it, each part counted once; of lost roots nothing is known.
    pub unnamed: u64,
    /// Their paths: the first ones, as many as were asked for.
    pub paths: BTreeSet<Vec<u8>>,
    versions: HashSet<[u8; 16]>,
}

impl PackCost {
    fn note(&mut self, version: [u8; 16], size: u64, path: &[u8], paths_max: usize) {
        if !self.versions.insert(version) {
            return;
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(size);
        let is_room = self.paths.len() < paths_max;
        if is_room || self.paths.last().is_some_and(|last| path < last.as_slice()) {
            self.paths.insert(path.to_vec());
        }
        if self.paths.len() > paths_max {
            self.paths.pop_last();
        }
    }
}

/// Why content does not come back.
#[derive(Debug, Clone, Default)]
struct Loss {
    /// Something of it is in lost segments, or is not what it should be.
    is_lost: bool,
    /// Something of it is in segments that the index does not list.
    is_unlisted: bool,
    /// Packs that have to do with it.
    packs: Vec<u32>,
    /// Bytes of a file that it stands for.
    len: u64,
}

impl Loss {
    fn add(&mut self, other: &Self) {
        self.is_lost |= other.is_lost;
        self.is_unlisted |= other.is_unlisted;
        self.len = self.len.saturating_add(other.len);
        unite(&mut self.packs, &other.packs);
    }
}

/// A list or group that content names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum List {
    Pieces,
    Groups,
    Group,
}

/// What a parent says of a node: the answer holds for that only.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    location: Location,
    said: Option<([u8; 16], u8)>,
}

/// Looks for what does not come back, tree by tree.
pub struct Affected {
    nodes: SegmentCache,
    lost: HashMap<Segment, Vec<u32>>,
    listed: HashMap<Segment, bool>,
    lists: HashMap<(List, Location), Arc<Loss>>,
    trees: HashMap<Place, Option<Arc<TreeCost>>>,
    packs: Vec<PackCost>,
    total: PackCost,
    paths_max: usize,
}

impl Affected {
    /// `lost`: segments, and the number of a pack that each is lost with; `packs` such numbers. Of each pack `paths_max` paths
    /// are kept. Segments that the index does not list count apart.
    pub fn new(
        reader: Arc<Reader>,
        lost: impl IntoIterator<Item = (Segment, u32)>,
        packs: usize,
        paths_max: usize,
    ) -> Result<Self, Error> {
        let mut by_segment: HashMap<Segment, Vec<u32>> = HashMap::new();
        for (segment, pack) in lost {
            unite(by_segment.entry(segment).or_default(), &[pack]);
        }
        Ok(Self {
            nodes: SegmentCache::new(reader, CACHE_BYTES)?,
            lost: by_segment,
            listed: HashMap::new(),
            lists: HashMap::new(),
            trees: HashMap::new(),
            packs: vec![PackCost::default(); packs],
            total: PackCost::default(),
            paths_max,
        })
    }

    /// What is lost of a tree. What it shares with one that was walked before is not read again.
    pub fn walk(&mut self, root: Location) -> Result<TreeCost, Error> {
        let found = self.node(root, None)?;
        Ok(found.map_or_else(TreeCost::default, |cost| (*cost).clone()))
    }

    /// What a pack costs in all that was walked.
    pub fn pack(&self, number: usize) -> Option<&PackCost> {
        self.packs.get(number)
    }

    /// What all packs cost: a file that rests on two of them counts once.
    pub fn total(&self) -> &PackCost {
        &self.total
    }

    /// The paths of the files of a tree that do not come back, in order, at most so many.
    pub fn names(&mut self, root: Location, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut out = Vec::new();
        self.collect(root, None, most, &mut out)?;
        Ok(out)
    }

    fn collect(
        &mut self,
        location: Location,
        said: Option<(&Child, u8)>,
        most: usize,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        if out.len() >= most || self.node(location, said)?.is_none() {
            return Ok(());
        }
        match self.open(&location, said) {
            Ok(Node::Leaf(entries)) => {
                for entry in entries {
                    let EntryKind::File { size, content } = &entry.kind else {
                        continue;
                    };
                    let loss = self.content(*size, content)?;
                    if (loss.is_lost || loss.is_unlisted) && out.len() < most {
                        out.push(entry.path);
                    }
                }
            }
            Ok(Node::Inner { level, children }) => {
                for child in &children {
                    self.collect(child.location, Some((child, level - 1)), most, out)?;
                }
            }
            Err(error) if is_of_one_segment(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// `None`: nothing is lost.
    fn node(
        &mut self,
        location: Location,
        said: Option<(&Child, u8)>,
    ) -> Result<Option<Arc<TreeCost>>, Error> {
        let place = Place {
            location,
            said: said.map(|(child, level)| {
                let numbers = [child.entries.to_le_bytes(), child.bytes.to_le_bytes()].concat();
                (short_hash(&[&numbers, &child.first_path]), level)
            }),
        };
        if let Some(known) = self.trees.get(&place) {
            return Ok(known.clone());
        }
        let cost = match self.open(&location, said) {
            Ok(Node::Leaf(entries)) => self.leaf(&entries)?,
            Ok(Node::Inner { level, children }) => {
                let mut sum = TreeCost::default();
                for child in &children {
                    if let Some(cost) = self.node(child.location, Some((child, level - 1)))? {
                        sum.add(&cost);
                    }
                }
                sum
            }
            Err(error) if is_of_one_segment(&error) => {
                self.lost_node(&location, said.map(|(child, _)| child))
            }
            Err(error) => return Err(error),
        };
        let cost = (!cost.is_nothing()).then(|| Arc::new(cost));
        keep(&mut self.trees, place, cost.clone());
        Ok(cost)
    }

    fn lost_node(&mut self, location: &Location, said: Option<&Child>) -> TreeCost {
        let packs = self.lost.get(&(location.origin, location.segment));
        let cost = TreeCost {
            unnamed: said.map_or(0, |child| child.entries),
            unnamed_bytes: said.map_or(0, |child| child.bytes),
            is_lost: said.is_none(),
            packs: packs.cloned().unwrap_or_default(),
            ..TreeCost::default()
        };
        for number in &cost.packs {
            if let Some(pack) = self.packs.get_mut(*number as usize) {
                pack.unnamed = pack.unnamed.saturating_add(cost.unnamed);
            }
        }
        cost
    }

    /// A node, held against what its parent says of it, as every walk does.
    fn open(&mut self, location: &Location, said: Option<(&Child, u8)>) -> Result<Node, Error> {
        let node = Node::parse(&self.read(Role::Node, location)?)?;
        let is_as_said = said.is_none_or(|(child, level)| {
            node.level() == level
                && node.first_path() == Some(child.first_path.as_slice())
                && node.totals() == (child.entries, child.bytes)
        });
        if is_as_said {
            Ok(node)
        } else {
            Err(EngineError::Damaged {
                what: "a node that is not what its parent says",
            }
            .into())
        }
    }

    fn read(&mut self, role: Role, location: &Location) -> Result<Vec<u8>, Error> {
        if self.lost.contains_key(&(location.origin, location.segment)) {
            return Err(EngineError::Damaged {
                what: "a lost segment",
            }
            .into());
        }
        self.nodes.get(role, location).map_err(unwrap_outside)
    }

    fn leaf(&mut self, entries: &[Entry]) -> Result<TreeCost, Error> {
        let mut sum = TreeCost::default();
        for entry in entries {
            let EntryKind::File { size, content } = &entry.kind else {
                continue;
            };
            let loss = self.content(*size, content)?;
            if loss.is_lost {
                sum.files += 1;
                sum.bytes = sum.bytes.saturating_add(*size);
                unite(&mut sum.packs, &loss.packs);
                self.note(entry, *size, &loss.packs);
            } else if loss.is_unlisted {
                sum.unlisted += 1;
            }
        }
        Ok(sum)
    }

    fn note(&mut self, entry: &Entry, size: u64, packs: &[u32]) {
        let (seconds, nanoseconds) = entry.mtime;
        let version = short_hash(&[
            &size.to_le_bytes(),
            &seconds.to_le_bytes(),
            &nanoseconds.to_le_bytes(),
            &entry.path,
        ]);
        for number in packs {
            if let Some(pack) = self.packs.get_mut(*number as usize) {
                pack.note(version, size, &entry.path, self.paths_max);
            }
        }
        self.total.note(version, size, &entry.path, self.paths_max);
    }

    fn content(&mut self, size: u64, content: &Content) -> Result<Loss, Error> {
        let (list, places) = match content {
            Content::Inline(_) => return Ok(Loss::default()),
            Content::Pieces(pieces) => return self.pieces(pieces),
            Content::PiecesAt(places) => (List::Pieces, places),
            Content::PageMap { groups, .. } => (List::Group, groups),
            Content::PageMapAt { lists, .. } => (List::Groups, lists),
        };
        let mut sum = Loss::default();
        for location in places {
            let loss = self.list(list, location)?;
            sum.add(&loss);
        }
        // What cannot be read says no length; what can be read and does not add up is refused by a restore.
        sum.is_lost |= sum.len != size && !sum.is_unlisted;
        Ok(sum)
    }

    fn list(&mut self, list: List, location: &Location) -> Result<Arc<Loss>, Error> {
        if let Some(known) = self.lists.get(&(list, *location)) {
            return Ok(Arc::clone(known));
        }
        let loss = match self.read_list(list, location) {
            Ok(loss) => loss,
            Err(error) if is_of_one_segment(&error) => {
                let mut loss = Loss::default();
                self.place(location, &mut loss)?;
                loss.is_lost |= !loss.is_unlisted;
                loss
            }
            Err(error) => return Err(error),
        };
        let loss = Arc::new(loss);
        keep(&mut self.lists, (list, *location), Arc::clone(&loss));
        Ok(loss)
    }

    fn read_list(&mut self, list: List, location: &Location) -> Result<Loss, Error> {
        match list {
            List::Pieces => {
                let bytes = self.read(Role::Pieces, location)?;
                self.pieces(&parse_piece_list(&bytes)?)
            }
            List::Groups => {
                let mut sum = Loss::default();
                for group in parse_group_list(&self.read(Role::Pieces, location)?)? {
                    let loss = self.list(List::Group, &group)?;
                    sum.add(&loss);
                }
                Ok(sum)
            }
            List::Group => {
                let group = PageGroup::parse(&self.read(Role::Group, location)?)?;
                let mut sum = Loss {
                    len: group.bytes_len(),
                    ..Loss::default()
                };
                for (place, _) in group.extents.iter().filter_map(|extent| extent.place) {
                    self.place(&place, &mut sum)?;
                }
                Ok(sum)
            }
        }
    }

    fn pieces(&mut self, pieces: &[Piece]) -> Result<Loss, Error> {
        let mut sum = Loss {
            len: total_len(pieces)?,
            ..Loss::default()
        };
        for place in pieces.iter().filter_map(|piece| piece.place) {
            self.place(&place, &mut sum)?;
        }
        Ok(sum)
    }

    /// Takes in where something is.
    fn place(&mut self, location: &Location, into: &mut Loss) -> Result<(), Error> {
        let key = (location.origin, location.segment);
        if let Some(packs) = self.lost.get(&key) {
            into.is_lost = true;
            unite(&mut into.packs, packs);
            return Ok(());
        }
        let is_listed = match self.listed.get(&key) {
            Some(is_listed) => *is_listed,
            None => self.nodes.reader().index.has_segment(&key.0, key.1)?,
        };
        keep(&mut self.listed, key, is_listed);
        into.is_unlisted |= !is_listed;
        Ok(())
    }
}

/// Adds numbers to others, all in order.
fn unite(into: &mut Vec<u32>, more: &[u32]) {
    for number in more {
        if let Err(at) = into.binary_search(number) {
            into.insert(at, *number);
        }
    }
}

/// Remembers, and forgets all when it is too much: what is forgotten is only found again.
fn keep<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= KNOWN_MAX {
        map.clear();
    }
    map.insert(key, value);
}

fn short_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let hash = context.finish();
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}
