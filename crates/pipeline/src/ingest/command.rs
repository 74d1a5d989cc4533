//! A foreign command: its environment is stated, it leads a process group of its own, and what it says on standard error is
//! counted, not shown.
use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{Error, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use aws_lc_rs::digest;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use super::StreamSpec;

/// How often a silent command is looked at.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often it is looked at after it was asked to end, before it is killed: about two seconds in all.
const PATIENCE: u32 = 400;
/// Bytes of the digest that a finding tells.
const DIGEST_BYTES: usize = 8;

/// A command that does not outlive the run's interest in it.
pub(super) struct Running {
    pub child: Child,
    pub output: ChildStdout,
    errors: Option<ChildStderr>,
    error_bytes: u64,
    error_hash: digest::Context,
    is_over: bool,
}

impl Running {
    /// Starts it. Its standard input is empty; its pipes never block us, since it may be silent for hours.
    pub fn start(stream: &StreamSpec) -> Result<Self, Error> {
        let (program, arguments) = stream
            .command
            .split_first()
            .ok_or(Error::from_raw_os_error(
                rustix::io::Errno::NOENT.raw_os_error(),
            ))?;
        let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let mut child = Command::new(text(program))
            .args(arguments.iter().map(|argument| text(argument)))
            .env_clear()
            .envs(
                stream
                    .environment
                    .iter()
                    .map(|(name, value)| (text(name), text(value))),
            )
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if stream.shows_errors {
                Stdio::inherit()
            } else {
                Stdio::piped()
            })
            .spawn()?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let Some(output) = output else {
            return Err(Error::other("the command has no output"));
        };
        let running = Self {
            child,
            output,
            errors,
            error_bytes: 0,
            error_hash: digest::Context::new(&digest::SHA256),
            is_over: false,
        };
        fcntl_setfl(running.output.as_fd(), OFlags::NONBLOCK)?;
        if let Some(errors) = &running.errors {
            fcntl_setfl(errors.as_fd(), OFlags::NONBLOCK)?;
        }
        Ok(running)
    }

    /// Takes what there is on standard error, so that the command never waits for a reader.
    pub fn drain_errors(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(errors) = &mut self.errors {
            match errors.read(&mut buffer) {
                Ok(read) if read > 0 => {
                    self.error_bytes += read as u64;
                    self.error_hash
                        .update(buffer.get(..read).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => self.errors = None,
            }
        }
    }

    /// How it failed, in words that hold nothing it said: its exit code, and what identifies its complaint.
    pub fn ending(&mut self, status: ExitStatus) -> String {
        self.is_over = true;
        self.drain_errors();
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        if self.error_bytes == 0 {
            return how;
        }
        let hash = self.error_hash.clone().finish();
        let mut hex = String::new();
        for byte in hash.as_ref().iter().take(DIGEST_BYTES) {
            // Into a string: it cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        format!(
            "{how}; {} bytes on standard error, SHA-256 {hex}",
            self.error_bytes
        )
    }

    /// Whether it ended by itself.
    fn has_ended(&mut self) -> bool {
        self.is_over = self.is_over || !matches!(self.child.try_wait(), Ok(None));
        self.is_over
    }

    /// Ends it with all that it started.
    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails only if nobody is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(Signal::TERM);
        for _ in 0..PATIENCE {
            if self.has_ended() {
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        // Not waited for, or of those that it started: the group is there as long as one of them is.
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }
}
