//! A command's standard output as a file: kept only if the command succeeds.
use std::io::{ErrorKind, Read};
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;

use super::StreamSpec;
use super::batch::{Body, Item, Stored};
use super::command::{LOOK_AGAIN, Running};
use super::context::{Context, Job};
use super::large::FileReader;
use crate::Error;
use crate::limits::Resource;

/// What is read from the command at once.
const STEP_BYTES: usize = 256 << 10;

/// Runs the command to its end.
pub(super) fn read_stream(
    context: &Context,
    item: &mut Item,
    stream: &StreamSpec,
    jobs: &Sender<Job>,
) -> Result<Body, Error> {
    let mut command = match Running::start(stream) {
        Ok(command) => command,
        Err(error) => return Ok(Body::Failed(error.to_string())),
    };
    let mut buffer = vec![0; STEP_BYTES];
    // What comes first decides the class, and that where everything goes.
    let head_bytes = context.classes.head_bytes(item);
    let mut head = Vec::new();
    let mut file: Option<FileReader<'_>> = None;
    loop {
        // What the pipe gives is known afterwards: the next read waits for it.
        let step = context.limits.step(Resource::Read, STEP_BYTES);
        let part = buffer.get_mut(..step).unwrap_or_default();
        context.limits.take_operations(0, &context.stop)?;
        match command.output.read(part) {
            Ok(0) => break,
            Ok(read) => {
                context.limits.take_read(read as u64, &context.stop)?;
                context
                    .counters
                    .read_bytes
                    .fetch_add(read as u64, Ordering::Relaxed);
                let bytes = buffer.get(..read).unwrap_or_default();
                if let Some(file) = &mut file {
                    file.feed(bytes)?;
                } else {
                    head.extend_from_slice(bytes);
                    if head.len() >= head_bytes {
                        file = Some(begin(context, item, &head, jobs)?);
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(error) => return Ok(Body::Failed(error.to_string())),
        }
        command.drain_errors();
    }
    let file = match file {
        Some(file) => file,
        None => begin(context, item, &head, jobs)?,
    };
    let (pieces, mark, bytes) = file.finish()?;
    loop {
        context.check_stop()?;
        command.drain_errors();
        match command.child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Ok(Body::Failed(command.ending(status))),
            Ok(None) => std::thread::sleep(LOOK_AGAIN),
            Err(error) => return Ok(Body::Failed(error.to_string())),
        }
    }
    item.stat.size = bytes;
    let stored = if pieces.is_empty() {
        Stored::Inline(Vec::new())
    } else {
        Stored::Pieces(pieces)
    };
    Ok(Body::File {
        stored,
        xattrs: Vec::new(),
        mark,
    })
}

/// A reader of the class that the first bytes say, which has taken them.
fn begin<'a>(
    context: &'a Context,
    item: &mut Item,
    head: &[u8],
    jobs: &'a Sender<Job>,
) -> Result<FileReader<'a>, Error> {
    context.classes.look(item, head, head.len() as u64);
    let mut file = FileReader::new(context, item.class, jobs)?;
    file.feed(head)?;
    Ok(file)
}
