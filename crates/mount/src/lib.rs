//! Snapshots as file systems, by FUSE: read-only, or with a local layer above that takes what is written and fills with the rest.
//!
//! | module | what it knows |
//! |---|---|
//! | [`segments`] | opened segments, shared by threads |
//! | [`content`] | a file's bytes at any offset |
//! | [`listing`] | the trees of a snapshot as one |
//! | [`attributes`], [`kernel`] | what the kernel is told |
//! | [`unread`] | what applications were told they cannot read |
//! | [`read_only`] | snapshots, nothing else |
//! | [`upper`] | copy-on-write above a snapshot, filling and switching over |
//! | [`session`] | mounting and unmounting |
#![forbid(unsafe_code)]

pub mod attributes;
pub mod content;
pub mod kernel;
pub mod listing;
pub mod read_only;
pub mod segments;
pub mod session;
pub mod unread;
pub mod upper;
