//! The targets, by the parser's room.
pub mod contents;
pub mod detect;
pub mod index;
pub mod packs;
pub mod patterns;
pub mod refs;
pub mod state;
pub mod trees;
pub mod words;
