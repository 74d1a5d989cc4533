//! The rate hook: a body that asks the limits before every slice, so that a limit changed in mid-object holds at once.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use holdfast_pipeline::limits::Limits;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::activity::Activity;

/// Bytes that travel at once. Small enough for a limit to hold within a second at 64 KiB per second.
pub const SLICE_BYTES: usize = 64 << 10;
/// Longest sleep before a changed limit is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Limits that a transfer keeps to, all of them: the run's and the store's own.
#[derive(Clone, Default)]
pub struct Pace(pub Vec<Arc<Limits>>);

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the store: counts as writing.
    Up,
    /// From the store: counts as reading.
    Down,
}

impl Pace {
    /// Takes the bytes from the limits from number `place` on; else where it must wait, and how long.
    fn take(&self, place: &mut usize, way: Way, bytes: usize) -> Result<(), Duration> {
        while let Some(limits) = self.0.get(*place) {
            let bytes = bytes as u64;
            match way {
                Way::Up => limits.try_write(bytes)?,
                Way::Down => limits.try_read(bytes)?,
            }
            *place += 1;
        }
        Ok(())
    }

    /// Waits until the bytes may go.
    pub async fn wait(&self, way: Way, bytes: usize, activity: &Activity) {
        let mut place = 0;
        while let Err(wait) = self.take(&mut place, way, bytes) {
            activity.touch();
            sleep(wait.min(LOOK_AGAIN)).await;
        }
    }
}

/// A request's body, in slices, under limits.
pub struct Paced {
    rest: Bytes,
    pace: Pace,
    place: usize,
    waiting: Option<Pin<Box<Sleep>>>,
    activity: Activity,
}

impl Paced {
    /// Sends `bytes` under the limits.
    pub fn new(bytes: Bytes, pace: Pace, activity: Activity) -> Self {
        Self {
            rest: bytes,
            pace,
            place: 0,
            waiting: None,
            activity,
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        this.activity.touch();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = this.rest.len().min(SLICE_BYTES);
        loop {
            if let Some(waiting) = &mut this.waiting {
                ready!(waiting.as_mut().poll(context));
                this.waiting = None;
            }
            match this.pace.take(&mut this.place, Way::Up, size) {
                Ok(()) => break,
                Err(wait) => this.waiting = Some(Box::pin(sleep(wait.min(LOOK_AGAIN)))),
            }
        }
        this.place = 0;
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
