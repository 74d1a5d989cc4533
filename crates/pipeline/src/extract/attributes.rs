//! What a file has besides its content: owners, mode, extended attributes, time. Set by descriptor, in the order that keeps each.
use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use holdfast_engine::entry::{Entry, EntryKind};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

/// Attributes to be set.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u16,
    /// Owner and group, unless they stay as they are.
    pub owner: Option<(u32, u32)>,
    /// Modification time.
    pub mtime: (i64, u32),
    /// Extended attributes.
    pub xattrs: Box<[(Vec<u8>, Vec<u8>)]>,
}

/// What could not be set, and why.
pub type Refused = Vec<(&'static str, Errno)>;

impl Attributes {
    /// Sets all that it can on an open file or folder.
    ///
    /// `has_mode`: the file was made with its mode and owner, and nothing but the time (and attributes) is missing.
    pub fn set(&self, file: BorrowedFd<'_>, has_mode: bool) -> Refused {
        let mut refused = Refused::new();
        let mut note = |what, result: Result<(), Errno>| {
            if let Err(errno) = result {
                refused.push((what, errno));
            }
        };
        let mut mode = self.mode();
        if let Some((uid, gid)) = self.owner {
            let result =
                rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            if result.is_err() {
                // A program must not gain the rights of whoever restores it.
                mode -= Mode::SUID | Mode::SGID;
            }
            note("owner", result);
        }
        if !has_mode || self.owner.is_some() {
            note("mode", rustix::fs::fchmod(file, mode));
        }
        for (name, value) in &self.xattrs {
            note(
                xattr_kind(name),
                rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()),
            );
        }
        note("time", rustix::fs::futimens(file, &self.times()));
        refused
    }

    /// Sets owner, attributes and time of a symbolic link, which has no mode of its own.
    pub fn set_link(&self, folder: BorrowedFd<'_>, name: &[u8]) -> Refused {
        let mut refused = Refused::new();
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            if let Err(errno) = rustix::fs::chownat(
                folder,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            ) {
                refused.push(("owner", errno));
            }
        }
        let path = [
            format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(),
            name,
        ]
        .concat();
        for (key, value) in &self.xattrs {
            if let Err(errno) =
                rustix::fs::lsetxattr(path.as_slice(), key.as_slice(), value, XattrFlags::empty())
            {
                refused.push((xattr_kind(key), errno));
            }
        }
        if let Err(errno) =
            rustix::fs::utimensat(folder, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
        {
            refused.push(("time", errno));
        }
        refused
    }

    /// The permission bits.
    pub fn mode(&self) -> Mode {
        Mode::from_raw_mode(u32::from(self.mode) & 0o7777)
    }

    /// The modification time; the time of access is left alone.
    pub fn times(&self) -> Timestamps {
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: self.mtime.0,
                tv_nsec: i64::from(self.mtime.1),
            },
        }
    }
}

fn xattr_kind(name: &[u8]) -> &'static str {
    if name.starts_with(b"system.posix_acl_") {
        "access control list"
    } else if name.starts_with(b"security.") || name.starts_with(b"trusted.") {
        "privileged attribute"
    } else {
        "extended attribute"
    }
}

/// Who a name belongs to on this machine.
pub trait Names: Send {
    /// The id of a user name.
    fn user(&mut self, name: &[u8]) -> Option<u32>;
    /// The id of a group name.
    fn group(&mut self, name: &[u8]) -> Option<u32>;
}

/// Turns recorded owners into owners here.
pub struct Owners {
    names: Option<Box<dyn Names>>,
    users: HashMap<Vec<u8>, Option<u32>>,
    groups: HashMap<Vec<u8>, Option<u32>>,
    is_kept: bool,
    own: (u32, u32),
}

impl Owners {
    /// `is_kept`: owners are restored at all; with `names`, a name that exists here goes before the recorded number.
    pub fn new(is_kept: bool, names: Option<Box<dyn Names>>) -> Self {
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Self {
            names,
            users: HashMap::new(),
            groups: HashMap::new(),
            is_kept,
            own,
        }
    }

    /// The attributes of an entry. The owner is left out where a new file has it anyway.
    pub fn attributes(&mut self, entry: &Entry, in_new_folder: bool) -> Attributes {
        let recorded = self.owner(entry);
        let owner = self
            .is_kept
            .then_some(recorded)
            .filter(|owner| *owner != self.own || !in_new_folder);
        let is_other = !self.is_kept && recorded != self.own;
        let mode = if is_other && !matches!(entry.kind, EntryKind::Folder) {
            // Made as ours: a program must not gain our rights for whoever runs it.
            entry.mode & !0o6000
        } else {
            entry.mode
        };
        Attributes {
            mode,
            owner,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone().into_boxed_slice(),
        }
    }

    fn owner(&mut self, entry: &Entry) -> (u32, u32) {
        let Some(names) = &mut self.names else {
            return (entry.uid, entry.gid);
        };
        let user = resolve(&mut self.users, &entry.user, |name| names.user(name));
        let group = resolve(&mut self.groups, &entry.group, |name| names.group(name));
        (user.unwrap_or(entry.uid), group.unwrap_or(entry.gid))
    }
}

fn resolve(
    known: &mut HashMap<Vec<u8>, Option<u32>>,
    name: &[u8],
    ask: impl FnOnce(&[u8]) -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    if let Some(id) = known.get(name) {
        return *id;
    }
    let id = ask(name);
    known.insert(name.to_vec(), id);
    id
}
