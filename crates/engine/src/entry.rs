//! One entry of a tree: a path and all that a file system knows about it.
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::content::Content;
use crate::error::{Error, Result};
use crate::limits::{NODE_BYTES_MAX, NODE_EXPANDED_BYTES_MAX, PATH_BYTES_MAX};
use crate::locations::{LocationDecoder, LocationEncoder};
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};

const FLAG_XATTRS: u8 = 1;
const FLAG_LINK: u8 = 2;

const KIND_FILE: u8 = 1;
const KIND_FOLDER: u8 = 2;
const KIND_SYMLINK: u8 = 3;
const KIND_FIFO: u8 = 4;
const KIND_CHAR_DEVICE: u8 = 5;
const KIND_BLOCK_DEVICE: u8 = 6;

/// Longest name of a user, group or attribute.
const NAME_BYTES_MAX: usize = 1024;
/// All attributes of one entry.
const XATTRS_BYTES_MAX: usize = NODE_BYTES_MAX / 8;
/// What names the content of one entry: with attributes and path it must fit a node.
const CONTENT_BYTES_MAX: usize = NODE_BYTES_MAX / 2;
/// Attributes of one entry.
const XATTRS_MAX: usize = 4096;

/// A file, folder or other thing of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Components joined by `/`, without a leading one; empty for the root folder.
    pub path: Vec<u8>,
    /// What it is, and its content.
    pub kind: EntryKind,
    /// The low 12 bits of `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name of the owner; empty if unknown.
    pub user: Vec<u8>,
    /// Name of the group; empty if unknown.
    pub group: Vec<u8>,
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Equal in entries that are hard links of one file.
    pub link_id: Option<u64>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its length.
        size: u64,
        /// Where its bytes are.
        content: Content,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// What it points to.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Entry {
    /// A number that two entries of one path share only (but for chance, 1 in 2^64) if nothing at all differs between them.
    pub fn mark(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        self.mode.hash(&mut hasher);
        (self.uid, self.gid, &self.user, &self.group).hash(&mut hasher);
        (self.mtime, &self.xattrs, self.link_id, &self.kind).hash(&mut hasher);
        hasher.finish()
    }

    /// Bytes of file content that the entry stands for.
    pub fn content_bytes(&self) -> u64 {
        match &self.kind {
            EntryKind::File { size, .. } => *size,
            _ => 0,
        }
    }

    /// Refuses an entry that a tree cannot hold: path, mode, attributes or content beyond what the format allows.
    pub fn check(&self) -> Result<()> {
        check_path(&self.path)?;
        if self.mode > 0o7777 {
            return Err(Error::damaged("a mode of more than 12 bits"));
        }
        if self.mtime.1 >= 1_000_000_000 {
            return Err(Error::damaged("nanoseconds of a second or more"));
        }
        if self.user.len() > NAME_BYTES_MAX || self.group.len() > NAME_BYTES_MAX {
            return Err(Error::limit("bytes of an owner's name"));
        }
        self.check_xattrs()?;
        match &self.kind {
            EntryKind::File { content, .. } if content.encoded_len_max() > CONTENT_BYTES_MAX => {
                Err(Error::limit("locations kept in an entry"))
            }
            EntryKind::File { size, content } => content.check(*size),
            EntryKind::Symlink { target } if target.is_empty() => {
                Err(Error::damaged("a symbolic link without a target"))
            }
            EntryKind::Symlink { target } if target.len() > PATH_BYTES_MAX => {
                Err(Error::limit("bytes of a link's target"))
            }
            EntryKind::Symlink { target } if target.contains(&0) => {
                Err(Error::damaged("a zero byte in a link's target"))
            }
            _ => Ok(()),
        }
    }

    fn check_xattrs(&self) -> Result<()> {
        if self.xattrs.len() > XATTRS_MAX {
            return Err(Error::limit("attributes of an entry"));
        }
        if !self.xattrs.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Error::damaged("attributes out of order"));
        }
        let bytes: usize = self.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
        let name_ok =
            |name: &[u8]| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(&0);
        if !self.xattrs.iter().all(|(name, _)| name_ok(name)) {
            return Err(Error::damaged("an attribute's name"));
        }
        if bytes > XATTRS_BYTES_MAX {
            return Err(Error::limit("bytes of an entry's attributes"));
        }
        Ok(())
    }
}

/// Refuses paths that are too long or have an empty, `.` or `..` component or a zero byte.
pub fn check_path(path: &[u8]) -> Result<()> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::limit("bytes of a path"));
    }
    if path.is_empty() {
        return Ok(());
    }
    let bad = |component: &[u8]| matches!(component, b"" | b"." | b"..");
    if path.contains(&0) || path.split(|byte| *byte == b'/').any(bad) {
        return Err(Error::damaged("a path that no file system has"));
    }
    Ok(())
}

/// The order of a tree: bytewise with `/` as the smallest byte, so that a folder is followed by everything under it.
#[inline]
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    match a.iter().zip(b).position(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        Some(at) => {
            let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
            // In range: `position` counted pairs of both.
            rank(a[at]).cmp(&rank(b[at]))
        }
    }
}

/// Whether `path` is `folder` itself or lies under it.
pub fn is_under(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// How many bytes two paths share at the front.
pub(crate) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Appends a path relative to the one before.
pub(crate) fn put_path(out: &mut Vec<u8>, previous: &[u8], path: &[u8]) {
    let shared = shared_len(previous, path);
    put_varint(out, shared as u64);
    put_bytes(out, path.get(shared..).unwrap_or_default());
}

/// Reads a path relative to the one in `path`, in place.
pub(crate) fn read_path(reader: &mut Reader<'_>, path: &mut Vec<u8>) -> Result<()> {
    let shared = reader.count(path.len(), "shared bytes of a path")?;
    path.truncate(shared);
    path.extend_from_slice(reader.bytes(PATH_BYTES_MAX, "bytes of a path")?);
    check_path(path)
}

/// Writes the entries of one leaf: what each shares with the one before is left out.
#[derive(Debug, Default)]
pub(crate) struct EntryEncoder {
    previous_path: Vec<u8>,
    previous_seconds: i64,
    names: Vec<Vec<u8>>,
    locations: LocationEncoder,
    body: Vec<u8>,
    count: u64,
    bytes: u64,
}

impl EntryEncoder {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn content_bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Appends an entry that [`Entry::check`] accepts.
    pub(crate) fn put(&mut self, entry: &Entry) {
        put_path(&mut self.body, &self.previous_path, &entry.path);
        self.previous_path.clear();
        self.previous_path.extend_from_slice(&entry.path);
        let xattrs = if entry.xattrs.is_empty() {
            0
        } else {
            FLAG_XATTRS
        };
        let link = if entry.link_id.is_some() {
            FLAG_LINK
        } else {
            0
        };
        self.body.push(kind_number(&entry.kind));
        self.body.push(xattrs | link);
        put_varint(&mut self.body, u64::from(entry.mode));
        put_varint(&mut self.body, u64::from(entry.uid));
        put_varint(&mut self.body, u64::from(entry.gid));
        let user = self.name(&entry.user);
        put_varint(&mut self.body, user);
        let group = self.name(&entry.group);
        put_varint(&mut self.body, group);
        put_zigzag(
            &mut self.body,
            entry.mtime.0.wrapping_sub(self.previous_seconds),
        );
        self.previous_seconds = entry.mtime.0;
        put_varint(&mut self.body, u64::from(entry.mtime.1));
        if xattrs != 0 {
            put_varint(&mut self.body, entry.xattrs.len() as u64);
            for (name, value) in &entry.xattrs {
                put_bytes(&mut self.body, name);
                put_bytes(&mut self.body, value);
            }
        }
        if let Some(link) = entry.link_id {
            self.body.extend_from_slice(&link.to_le_bytes());
        }
        match &entry.kind {
            EntryKind::File { size, content } => {
                put_varint(&mut self.body, *size);
                content.encode(&mut self.body, &mut self.locations);
            }
            EntryKind::Symlink { target } => put_bytes(&mut self.body, target),
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                put_varint(&mut self.body, u64::from(*major));
                put_varint(&mut self.body, u64::from(*minor));
            }
            EntryKind::Folder | EntryKind::Fifo => {}
        }
        self.count += 1;
        self.bytes = self.bytes.saturating_add(entry.content_bytes());
    }

    /// 0 for no name, else 1 + its position in the table.
    fn name(&mut self, name: &[u8]) -> u64 {
        if name.is_empty() {
            return 0;
        }
        let known = self.names.iter().position(|known| known == name);
        let position = known.unwrap_or_else(|| {
            self.names.push(name.to_vec());
            self.names.len() - 1
        });
        position as u64 + 1
    }

    /// Appends the leaf (behind version and level) and starts anew.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.locations.put_table(out);
        put_varint(out, self.names.len() as u64);
        for name in &self.names {
            put_bytes(out, name);
        }
        put_varint(out, self.count);
        out.extend_from_slice(&self.body);
        self.previous_path.clear();
        self.previous_seconds = 0;
        self.names.clear();
        self.locations.clear();
        self.body.clear();
        self.count = 0;
        self.bytes = 0;
    }
}

/// Reads the entries of a leaf, behind version and level.
pub(crate) fn read_entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>> {
    let mut locations = LocationDecoder::read_table(reader)?;
    let names_len = reader.count(reader.rest().len(), "names in a leaf")?;
    let names = (0..names_len)
        .map(|_| reader.bytes(NAME_BYTES_MAX, "bytes of an owner's name"))
        .collect::<Result<Vec<_>>>()?;
    let count = reader.count(reader.rest().len(), "entries in a leaf")?;
    let mut path = Vec::new();
    let mut seconds = 0_i64;
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(1024));
    let mut expanded = 0;
    for _ in 0..count {
        read_path(reader, &mut path)?;
        if let Some(previous) = entries.last()
            && compare_paths(&previous.path, &path) != Ordering::Less
        {
            return Err(Error::damaged("entries out of order"));
        }
        let entry = read_entry(reader, &path, &mut seconds, &names, &mut locations)?;
        entry.check()?;
        expanded += path.len() + entry.user.len() + entry.group.len();
        check_expanded(expanded)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Refuses a node whose paths and names, written out, are beyond the limit: a small node could fill any memory with them.
pub(crate) fn check_expanded(bytes: usize) -> Result<()> {
    if bytes > NODE_EXPANDED_BYTES_MAX {
        Err(Error::limit("paths of a node, written out"))
    } else {
        Ok(())
    }
}

fn read_entry(
    reader: &mut Reader<'_>,
    path: &[u8],
    seconds: &mut i64,
    names: &[&[u8]],
    locations: &mut LocationDecoder,
) -> Result<Entry> {
    let kind = reader.u8()?;
    let flags = reader.u8()?;
    if flags & !(FLAG_XATTRS | FLAG_LINK) != 0 {
        return Err(Error::damaged("flags of an entry"));
    }
    let mode = u16::try_from(reader.varint()?)
        .map_err(|_| Error::damaged("a mode of more than 12 bits"))?;
    let uid = reader.varint_u32("a user id")?;
    let gid = reader.varint_u32("a group id")?;
    let user = read_name(reader, names)?;
    let group = read_name(reader, names)?;
    *seconds = seconds.wrapping_add(reader.zigzag()?);
    let nanoseconds = reader.varint_u32("nanoseconds")?;
    let mut xattrs = Vec::new();
    if flags & FLAG_XATTRS != 0 {
        for _ in 0..reader.count(XATTRS_MAX, "attributes of an entry")? {
            let name = reader.bytes(NAME_BYTES_MAX, "bytes of an attribute's name")?;
            let value = reader.bytes(XATTRS_BYTES_MAX, "bytes of an attribute")?;
            xattrs.push((name.to_vec(), value.to_vec()));
        }
    }
    let link_id = if flags & FLAG_LINK == 0 {
        None
    } else {
        Some(reader.u64()?)
    };
    Ok(Entry {
        path: path.to_vec(),
        kind: read_kind(reader, kind, locations)?,
        mode,
        uid,
        gid,
        user,
        group,
        mtime: (*seconds, nanoseconds),
        xattrs,
        link_id,
    })
}

fn read_kind(
    reader: &mut Reader<'_>,
    kind: u8,
    locations: &mut LocationDecoder,
) -> Result<EntryKind> {
    let device = |reader: &mut Reader<'_>| -> Result<(u32, u32)> {
        Ok((
            reader.varint_u32("a device number")?,
            reader.varint_u32("a device number")?,
        ))
    };
    Ok(match kind {
        KIND_FILE => {
            let size = reader.varint()?;
            if size > i64::MAX as u64 {
                return Err(Error::limit("bytes of a file"));
            }
            EntryKind::File {
                size,
                content: Content::read(reader, size, locations)?,
            }
        }
        KIND_FOLDER => EntryKind::Folder,
        KIND_SYMLINK => EntryKind::Symlink {
            target: reader
                .bytes(PATH_BYTES_MAX, "bytes of a link's target")?
                .to_vec(),
        },
        KIND_FIFO => EntryKind::Fifo,
        KIND_CHAR_DEVICE => {
            let (major, minor) = device(reader)?;
            EntryKind::CharDevice { major, minor }
        }
        KIND_BLOCK_DEVICE => {
            let (major, minor) = device(reader)?;
            EntryKind::BlockDevice { major, minor }
        }
        _ => return Err(Error::damaged("an entry of unknown kind")),
    })
}

fn read_name(reader: &mut Reader<'_>, names: &[&[u8]]) -> Result<Vec<u8>> {
    let number = reader.count(names.len(), "a name outside the table")?;
    Ok(number
        .checked_sub(1)
        .and_then(|position| names.get(position))
        .map_or_else(Vec::new, |name| name.to_vec()))
}

fn kind_number(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::File { .. } => KIND_FILE,
        EntryKind::Folder => KIND_FOLDER,
        EntryKind::Symlink { .. } => KIND_SYMLINK,
        EntryKind::Fifo => KIND_FIFO,
        EntryKind::CharDevice { .. } => KIND_CHAR_DEVICE,
        EntryKind::BlockDevice { .. } => KIND_BLOCK_DEVICE,
    }
}
