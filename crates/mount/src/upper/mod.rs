//! A local folder above a snapshot: what is written goes there, what is read comes there, until it holds everything.
//!
//! The folder is a real tree from the start. A folder of the snapshot appears in it, with its attributes and its children's,
//! when it is first looked into; a file appears as a sparse file of its size that says in an attribute of its own whose content
//! it lacks. Names, owners, modes, times, links and locks are the local file system's own affair. What is kept beside the tree
//! are maps of the large files that are there in part only ([`map`]).
//!
//! | module | what it knows |
//! |---|---|
//! | [`map`] | which blocks of a file are here, across kills and power cuts |
//! | [`partial`] | one file that is here in part: reading, writing, filling |
//! | [`skeleton`] | folders as they are first looked into |
//! | [`overlay`] | names, numbers, open files |
//! | [`filesystem`] | what the kernel asks |
//! | [`fill`] | filling in the background |

pub mod filesystem;
pub mod fill;
pub mod map;
pub mod map_file;
pub mod overlay;
pub mod partial;
mod setting;
pub mod skeleton;

/// On a file: what its content lacks is that of this path of the snapshot. On a folder: its children are not here yet.
pub const LOWER: &[u8] = b"user.holdfast.lower";
/// On a file that has one more name in the state folder than it shows.
pub const LINKED: &[u8] = b"user.holdfast.linked";
/// Attributes that are ours and not shown.
pub const OURS: &[u8] = b"user.holdfast.";
