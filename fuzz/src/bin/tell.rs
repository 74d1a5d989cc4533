//! Reads frames from standard input (`u8 kind, u32 length, bytes`; kinds as in [`holdfast_fuzz::tell::KINDS`]) and writes a line for each.
use std::io::{self, BufWriter, Read, Write};

use holdfast_fuzz::tell::{KINDS, tell};

fn main() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut head = [0; 5];
    while input.read_exact(&mut head).is_ok() {
        let [kind, length @ ..] = head;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut bytes)?;
        let told = KINDS
            .get(usize::from(kind))
            .and_then(|kind| tell(kind, &bytes));
        writeln!(out, "{}", told.as_deref().unwrap_or("null"))?;
    }
    out.flush()
}
