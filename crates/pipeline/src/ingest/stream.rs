//! A command's standard output as a file: kept only if the command succeeds.
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use rustix::fs::{OFlags, fcntl_setfl};

use super::StreamSpec;
use super::batch::{Body, Item, Stored};
use super::context::{Context, Job};
use super::events::FindingKind;
use super::large::FileReader;
use crate::Error;
use crate::limits::Resource;

/// What is read from the command at once.
const STEP_BYTES: usize = 256 << 10;
/// How often a silent command is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Runs the command to its end. Its standard error is ours, its standard input empty.
pub(super) fn read_stream(
    context: &Context,
    item: &mut Item,
    stream: &StreamSpec,
    jobs: &Sender<Job>,
) -> Result<Body, Error> {
    let failed = |errno| Body::Missing(FindingKind::StreamFailed, errno);
    let Some((program, arguments)) = stream.command.split_first() else {
        return Ok(failed(0));
    };
    let spawned = Command::new(OsStr::from_bytes(program))
        .args(arguments.iter().map(|argument| OsStr::from_bytes(argument)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut command = match spawned {
        Ok(child) => Running(child),
        Err(error) => return Ok(failed(error.raw_os_error().unwrap_or(0))),
    };
    let Some(mut output) = command.0.stdout.take() else {
        return Ok(failed(0));
    };
    // A command may be silent for hours, and the run must be able to stop meanwhile.
    if let Err(errno) = fcntl_setfl(&output, OFlags::NONBLOCK) {
        return Ok(failed(errno.raw_os_error()));
    }
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
        match output.read(part) {
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
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(error) => return Ok(failed(error.raw_os_error().unwrap_or(0))),
        }
    }
    let file = match file {
        Some(file) => file,
        None => begin(context, item, &head, jobs)?,
    };
    let (pieces, mark, bytes) = file.finish()?;
    loop {
        context.check_stop()?;
        match command.0.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(_)) => return Ok(failed(0)),
            Ok(None) => std::thread::sleep(LOOK_AGAIN),
            Err(error) => return Ok(failed(error.raw_os_error().unwrap_or(0))),
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

/// A command that does not outlive the run's interest in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
