//! Files of databases and of programs that keep their data in one.
use super::words::{Confidence, Detection, Rule};
use super::{has, u16_le};

/// The first bytes of files of one kind.
const SIGNATURES: [(usize, &[u8], Rule); 10] = [
    // https://www.sqlite.org/fileformat.html §1.3
    (0, b"SQLite format 3\0", Rule::Sqlite),
    // pg_dump's custom format.
    (0, b"PGDMP", Rule::PostgresDump),
    // Microsoft Tape Format, which BACKUP writes, and its compressed form.
    (0, b"TAPE\0\0", Rule::SqlServerBackup),
    (0, b"MSSQLBAK", Rule::SqlServerBackup),
    (4, b"Standard Jet DB\0", Rule::Access),
    (4, b"Standard ACE DB\0", Rule::Access),
    // [MS-PST] §2.2.2.6
    (0, b"!BDN", Rule::OutlookStore),
    // [MS-ESE]: the signature of a database header.
    (4, b"\xef\xcd\xab\x89", Rule::ExchangeStore),
    // The block header of a WiredTiger file: magic 120897, little-endian.
    (0, b"\x41\xd8\x01\x00", Rule::WiredTiger),
    (0, b"REDIS0", Rule::RedisDump),
];

pub(super) fn detect(head: &[u8]) -> Option<Detection> {
    let signed = SIGNATURES
        .iter()
        .find(|(at, bytes, _)| has(head, *at, bytes));
    if let Some((_, _, rule)) = signed {
        return rule.found(Confidence::Certain);
    }
    if is_postgres_page(head) {
        return Rule::PostgresPage.found(Confidence::Certain);
    }
    if is_innodb(head) {
        return Rule::InnoDb.found(Confidence::Certain);
    }
    if is_sql_server_page(head) {
        return Rule::SqlServerData.found(Confidence::Likely);
    }
    // Block 0 of a data file: its type, and the magic behind the block size.
    let oracle = head.get(1) == Some(&0xa2) && has(head, 28, b"}|{z");
    oracle
        .then(|| Rule::OracleData.found(Confidence::Certain))
        .flatten()
}

/// A page of `PostgreSQL` (src/include/storage/bufpage.h): size and layout version at 18, and pointers in order.
fn is_postgres_page(head: &[u8]) -> bool {
    let fields = (
        u16_le(head, 12),
        u16_le(head, 14),
        u16_le(head, 16),
        u16_le(head, 18),
    );
    let (Some(lower), Some(upper), Some(special), Some(version)) = fields else {
        return false;
    };
    version == 0x2004
        && (24..=upper).contains(&lower)
        && upper <= special
        && special <= 8192
        && head.len() >= 24
}

/// A tablespace of `InnoDB`: page 0 of type 8 with the space's id in both of its places.
fn is_innodb(head: &[u8]) -> bool {
    let page = head.get(4..8).is_some_and(|page| page == [0; 4]);
    let kind = head.get(24..26) == Some(&[0, 8]);
    let space = head.get(34..38);
    page && kind && space.is_some() && head.get(38..42) == space && head.len() >= 16 << 10
}

/// A data file of SQL Server: the file header page, version 1, type 15, in file 1 or later, page 0.
fn is_sql_server_page(head: &[u8]) -> bool {
    has(head, 0, &[1, 15])
        && head.get(32..36) == Some(&[0; 4])
        && u16_le(head, 36).is_some_and(|file| (1..=64).contains(&file))
        && head.len() >= 8192
}
