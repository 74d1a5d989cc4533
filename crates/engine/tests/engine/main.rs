//! The engine from outside: round trips, damage, hostile bytes, limits. All inputs are seeded.
mod bombs;
mod chunks;
mod constants;
mod contents;
mod fixtures;
mod packs;
mod references;
mod segments;
mod states;
mod trees;
mod vectors;
mod words;
