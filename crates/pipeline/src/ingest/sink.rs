//! Where trees put their nodes and lists, and what they refer to.
use crossbeam_channel::Sender;
use holdfast_engine::refs::RefSet;
use holdfast_engine::tree::NodeSink;
use holdfast_engine::{ClassKeys, Location, Origin, PackKind, Role};

use super::context::{Context, Job};
use crate::Error;
use crate::packer::NewChunk;

/// A reference set that remembers its last answer: neighbours share segments.
#[derive(Default)]
pub(super) struct Refs {
    pub set: RefSet,
    last: Option<(Origin, u32)>,
}

impl Refs {
    /// Adds a segment.
    pub fn add(&mut self, origin: Origin, segment: u32) {
        if self.last != Some((origin, segment)) {
            self.last = Some((origin, segment));
            self.set.add(origin, segment);
        }
    }
}

/// Stores nodes and lists of one class.
pub(super) struct Sink<'a> {
    pub context: &'a Context,
    pub jobs: &'a Sender<Job>,
    pub class: usize,
    pub keys: &'a ClassKeys,
    pub refs: &'a mut Refs,
    pub kind: PackKind,
}

impl Sink<'_> {
    fn store(&mut self, role: Role, bytes: &[u8]) -> Result<Location, Error> {
        let packer = &self.context.packer;
        let id = self.keys.id(role, bytes);
        if let Some(location) = packer.known(&id)? {
            return Ok(location);
        }
        self.context.wait_for_room(self.jobs)?;
        let chunk = NewChunk {
            id,
            role,
            page_bytes: None,
            plain: bytes,
        };
        let mut location = None;
        let seals = packer.place(self.class, self.kind, [chunk], |placed| {
            location = Some(placed.location);
        })?;
        self.context.seal_later(seals, self.jobs)?;
        location.ok_or(Error::Internal("a node without a place"))
    }
}

impl NodeSink for Sink<'_> {
    fn put(&mut self, role: Role, bytes: &[u8]) -> holdfast_engine::Result<Location> {
        let location = self.store(role, bytes).map_err(|error| match error {
            Error::Engine(error) => error,
            error => holdfast_engine::Error::outside(error),
        })?;
        self.refs.add(location.origin, location.segment);
        Ok(location)
    }
}
