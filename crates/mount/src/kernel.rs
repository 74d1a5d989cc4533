//! What both file systems ask the kernel, and answer it, alike.
use fuser::{Errno, InitFlags, KernelConfig, ReplyXattr};

use crate::content::Seek;

/// Adds what the kernel can do of the capabilities that are of use.
pub fn ask_for(config: &mut KernelConfig, wanted: &[InitFlags]) {
    for flags in wanted {
        // What an old kernel cannot do, it does without.
        let _ = config.add_capabilities(*flags);
    }
}

/// Answers with a value, or its length if that is what was asked.
pub fn give_xattr(value: &[u8], size: u32, reply: ReplyXattr) {
    if size == 0 {
        reply.size(value.len() as u32);
    } else if value.len() > size as usize {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}

/// `SEEK_DATA` and `SEEK_HOLE`.
pub fn seek_kind(whence: i32) -> Option<Seek> {
    match whence {
        3 => Some(Seek::Data),
        4 => Some(Seek::Hole),
        _ => None,
    }
}
