//! What the engine makes of some bytes, as JSON: a second reader that says the same is compared with it.
use std::fmt::Write;

use holdfast_engine::content::{Content, Piece, parse_group_list, parse_piece_list};
use holdfast_engine::directory::Directory;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::group::PageGroup;
use holdfast_engine::node::{Child, Node};
use holdfast_engine::pack::PackHeader;
use holdfast_engine::record::parse_run;
use holdfast_engine::{Location, Result};

/// The kinds of bytes that [`tell`] knows.
pub const KINDS: [&str; 7] = [
    "header",
    "directory",
    "run",
    "node",
    "pieces",
    "groups",
    "group",
];

/// One line of JSON: the value, or `null` if the engine refuses the bytes. `None` for an unknown kind.
///
/// A directory comes behind a byte with the number of its pack's origins.
pub fn tell(kind: &str, input: &[u8]) -> Option<String> {
    let told = match kind {
        "header" => header(input),
        "directory" => input
            .split_first()
            .map_or(Ok("null".into()), |(origins, plain)| {
                Directory::parse(plain, usize::from(*origins)).map(|found| directory(&found))
            }),
        "run" => run(input),
        "node" => Node::parse(input).map(|found| node(&found)),
        "pieces" => parse_piece_list(input).map(|found| pieces(&found)),
        "groups" => parse_group_list(input).map(|found| list(found.iter().map(place))),
        "group" => PageGroup::parse(input).map(|found| group(&found)),
        _ => return None,
    };
    Some(told.unwrap_or_else(|_| "null".into()))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2 + 2);
    out.push('"');
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('"');
    out
}

fn header(input: &[u8]) -> Result<String> {
    let (found, length) = PackHeader::parse(input)?;
    let envelopes = list(found.envelopes.iter().map(|envelope| {
        list(
            envelope
                .recipients()
                .iter()
                .map(|one| format!("[{},{}]", one.kind, hex(one.wrapped))),
        )
    }));
    let origins = list(
        found
            .origins
            .iter()
            .map(|one| format!("[{},{}]", hex(&one.nonce.0), one.envelope.unwrap_or(0xffff))),
    );
    let (kind, class, generation) = (found.kind as u8, found.class.0, found.generation.0);
    Ok(format!(
        "[{kind},{class},{generation},{},{length},{envelopes},{origins}]",
        hex(&found.nonce.0)
    ))
}

fn directory(found: &Directory) -> String {
    list(found.segments.iter().map(|one| {
        let chunks = list(one.chunks.iter().map(|chunk| {
            let high = chunk.page_bytes.map_or(0, |bytes| bytes.ilog2() - 8);
            format!(
                "[{},{},{}]",
                hex(&chunk.id.0),
                u32::from(chunk.role as u8) | high << 4,
                chunk.len
            )
        }));
        format!(
            "[{},{},{},{},{},{},{chunks}]",
            one.origin_index,
            one.ordinal,
            one.offset,
            one.sealed_len,
            one.codec as u8,
            one.plain_len
        )
    }))
}

fn run(input: &[u8]) -> Result<String> {
    Ok(list(parse_run(input)?.iter().map(|record| {
        let nonces = list(record.nonces.iter().map(|nonce| hex(&nonce.0)));
        let (size, kind) = (record.size, record.kind as u8);
        format!(
            "[{},{size},{kind},{nonces},{}]",
            hex(&record.name.0),
            directory(&record.directory)
        )
    })))
}

fn place(location: &Location) -> String {
    format!(
        "[{},{},{}]",
        hex(&location.origin.0),
        location.segment,
        location.chunk
    )
}

fn pieces(found: &[Piece]) -> String {
    list(found.iter().map(|piece| {
        let at = piece.place.as_ref().map_or("null".into(), place);
        format!("[{},{at}]", piece.len)
    }))
}

fn group(found: &PageGroup) -> String {
    let ids = list(found.ids.iter().map(|id| hex(&id.0)));
    let extents = list(found.extents.iter().map(|extent| {
        let (at, first) = extent
            .place
            .as_ref()
            .map_or(("null".into(), 0), |(at, first)| (place(at), *first));
        format!("[{},{at},{first}]", extent.pages)
    }));
    format!(
        "[{},{},{ids},{extents}]",
        1_u32 << found.page_size_log2,
        found.last_page_bytes
    )
}

fn node(found: &Node) -> String {
    match found {
        Node::Leaf(entries) => format!("[0,{}]", list(entries.iter().map(entry))),
        Node::Inner { level, children } => {
            format!("[{level},{}]", list(children.iter().map(child)))
        }
    }
}

fn child(found: &Child) -> String {
    format!(
        "[{},{},{},{}]",
        hex(&found.first_path),
        place(&found.location),
        found.entries,
        found.bytes
    )
}

fn entry(found: &Entry) -> String {
    let nothing = || "[null,0,\"\",[0,0]]".to_string();
    let kind = match &found.kind {
        EntryKind::File { size, content } => format!("[{},{size},\"\",[0,0]]", contents(content)),
        EntryKind::Symlink { target } => format!("[null,0,{},[0,0]]", hex(target)),
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            format!("[null,0,\"\",[{major},{minor}]]")
        }
        EntryKind::Folder | EntryKind::Fifo => nothing(),
    };
    let number = match &found.kind {
        EntryKind::File { .. } => 1,
        EntryKind::Folder => 2,
        EntryKind::Symlink { .. } => 3,
        EntryKind::Fifo => 4,
        EntryKind::CharDevice { .. } => 5,
        EntryKind::BlockDevice { .. } => 6,
    };
    let xattrs = list(
        found
            .xattrs
            .iter()
            .map(|(name, value)| format!("[{},{}]", hex(name), hex(value))),
    );
    let mtime_ns = i128::from(found.mtime.0) * 1_000_000_000 + i128::from(found.mtime.1);
    let link = found
        .link_id
        .map_or("null".into(), |id| hex(&id.to_le_bytes()));
    format!(
        "[{},{number},{},{},{},{},{},{mtime_ns},{xattrs},{link},{kind}]",
        hex(&found.path),
        found.mode,
        found.uid,
        found.gid,
        hex(&found.user),
        hex(&found.group)
    )
}

fn contents(found: &Content) -> String {
    let places = |places: &[Location]| list(places.iter().map(place));
    match found {
        Content::Inline(bytes) => format!("[0,{},0,[],[]]", hex(bytes)),
        Content::Pieces(found) => format!("[1,\"\",0,{},[]]", pieces(found)),
        Content::PiecesAt(lists) => format!("[2,\"\",0,[],{}]", places(lists)),
        Content::PageMap {
            page_size_log2,
            groups,
        } => {
            format!("[3,\"\",{},[],{}]", 1_u32 << page_size_log2, places(groups))
        }
        Content::PageMapAt {
            page_size_log2,
            lists,
        } => {
            format!("[4,\"\",{},[],{}]", 1_u32 << page_size_log2, places(lists))
        }
    }
}
