//! The engine from outside: round trips, damage, hostile bytes, limits. All inputs are seeded.
mod chunks;
mod constants;
mod fixtures;
mod packs;
mod segments;
mod words;
