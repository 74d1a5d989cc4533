//! The limits of format version 1; `docs/format/README.md` has the same table, and a test compares the two.

/// Version field of every object.
pub const FORMAT_VERSION: u32 = 1;
/// Length of a chunk, node or page id.
pub const ID_BYTES: usize = 16;
/// Length of an origin in a location.
pub const ORIGIN_BYTES: usize = 16;
/// Length of a pack nonce or sealed-object nonce.
pub const NONCE_BYTES: usize = 32;
/// Plaintext of one segment.
pub const SEGMENT_PLAIN_BYTES_MAX: usize = 16 << 20;
/// One pack.
pub const PACK_BYTES_MAX: usize = 128 << 20;
/// Origins in one pack.
pub const PACK_ORIGINS_MAX: usize = 4096;
/// Chunks in one segment.
pub const SEGMENT_CHUNKS_MAX: usize = 65536;
/// One path.
pub const PATH_BYTES_MAX: usize = 65536;
/// File content kept in its entry.
pub const INLINE_BYTES_MAX: usize = 64;
/// Pieces kept in the entry itself.
pub const PIECES_INLINE_MAX: usize = 32;
/// Pieces or locations in one list.
pub const LIST_ITEMS_MAX: usize = 262_144;
/// One tree node, piece list or page-map group.
pub const NODE_BYTES_MAX: usize = 8 << 20;
/// Paths and owners' names of one node, written out: what they share with one another would multiply.
pub const NODE_EXPANDED_BYTES_MAX: usize = 32 << 20;
/// Height of a tree.
pub const TREE_LEVELS_MAX: usize = 16;
/// Pages in one page-map group.
pub const MAP_GROUP_PAGES: usize = 256;
/// One control object.
pub const CONTROL_BYTES_MAX: usize = 16 << 20;
/// Plaintext of one sealed object.
pub const SEALED_BYTES_MAX: usize = 1 << 30;
/// Slots of a parity group.
pub const PARITY_SLOTS: usize = 16;
/// Rows of a parity group.
pub const PARITY_ROWS_MAX: usize = 16;

/// The constants above under their names in the specification.
pub const TABLE: [(&str, usize); 20] = [
    ("FORMAT_VERSION", FORMAT_VERSION as usize),
    ("ID_BYTES", ID_BYTES),
    ("ORIGIN_BYTES", ORIGIN_BYTES),
    ("NONCE_BYTES", NONCE_BYTES),
    ("SEGMENT_PLAIN_BYTES_MAX", SEGMENT_PLAIN_BYTES_MAX),
    ("PACK_BYTES_MAX", PACK_BYTES_MAX),
    ("PACK_ORIGINS_MAX", PACK_ORIGINS_MAX),
    ("SEGMENT_CHUNKS_MAX", SEGMENT_CHUNKS_MAX),
    ("PATH_BYTES_MAX", PATH_BYTES_MAX),
    ("INLINE_BYTES_MAX", INLINE_BYTES_MAX),
    ("PIECES_INLINE_MAX", PIECES_INLINE_MAX),
    ("LIST_ITEMS_MAX", LIST_ITEMS_MAX),
    ("NODE_BYTES_MAX", NODE_BYTES_MAX),
    ("NODE_EXPANDED_BYTES_MAX", NODE_EXPANDED_BYTES_MAX),
    ("TREE_LEVELS_MAX", TREE_LEVELS_MAX),
    ("MAP_GROUP_PAGES", MAP_GROUP_PAGES),
    ("CONTROL_BYTES_MAX", CONTROL_BYTES_MAX),
    ("SEALED_BYTES_MAX", SEALED_BYTES_MAX),
    ("PARITY_SLOTS", PARITY_SLOTS),
    ("PARITY_ROWS_MAX", PARITY_ROWS_MAX),
];
