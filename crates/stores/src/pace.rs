//! The rate hook: a body that asks the limits before every slice, so that a limit changed in mid-object holds at once.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use holdfast_pipeline::limits::{Limits, Resource};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::activity::Activity;

/// Bytes that travel at once. Small enough for a limit to hold within a second at 64 KiB per second.
pub const SLICE_BYTES: usize = 64 << 10;
/// Longest sleep before a changed limit is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Limits that a transfer keeps to, all of them: the runs' and the store's own.
#[derive(Clone, Default)]
pub struct Pace {
    up: Arc<[(Arc<Limits>, Resource)]>,
    down: Arc<[(Arc<Limits>, Resource)]>,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the store: writing and network of a run, writing of the store.
    Up,
    /// From the store: network of a run (who reads packs counts the reading), reading of the store.
    Down,
}

impl Pace {
    /// Keeps to the limits of runs, and to the store's own.
    pub fn new(runs: &[Arc<Limits>], own: &Arc<Limits>) -> Self {
        let of = |resource| move |limits: &Arc<Limits>| (Arc::clone(limits), resource);
        let network = || runs.iter().map(of(Resource::Network));
        let up = runs.iter().map(of(Resource::Write)).chain(network());
        Self {
            up: up.chain([(Arc::clone(own), Resource::Write)]).collect(),
            down: network()
                .chain([(Arc::clone(own), Resource::Read)])
                .collect(),
        }
    }

    /// Takes the bytes from the limits from number `place` on; else where it must wait, and how long.
    fn take(&self, place: &mut usize, way: Way, bytes: usize) -> Result<(), Duration> {
        let limits = if way == Way::Up { &self.up } else { &self.down };
        while let Some((limits, resource)) = limits.get(*place) {
            limits.try_take(*resource, bytes as u64)?;
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

#[cfg(test)]
mod tests {
    //! A body goes in slices, waits for every limit, and goes on as soon as a limit is lifted.
    use super::*;
    use http_body_util::BodyExt;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(work)
    }

    #[test]
    fn a_body_is_whole_and_in_slices() {
        let bytes = Bytes::from(vec![7u8; 3 * SLICE_BYTES + 5]);
        let mut body = Paced::new(bytes.clone(), Pace::default(), Activity::new());
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        assert!(!body.is_end_stream());
        run(async {
            let mut sizes = Vec::new();
            while let Some(frame) = body.frame().await {
                sizes.push(frame.expect("infallible").into_data().expect("data").len());
            }
            assert_eq!(sizes, [SLICE_BYTES, SLICE_BYTES, SLICE_BYTES, 5]);
        });
        assert!(body.is_end_stream());
    }

    #[test]
    fn a_lifted_limit_lets_a_waiting_body_go_on() {
        let own = Arc::new(Limits::new());
        let runs = Arc::new(Limits::new());
        runs.set_write(Some(1));
        own.set_write(Some(u64::MAX));
        let pace = Pace::new(&[Arc::clone(&runs)], &own);
        let mut body = Paced::new(
            Bytes::from(vec![1u8; 2 * SLICE_BYTES]),
            pace,
            Activity::new(),
        );
        run(async {
            // Into debt for hours.
            assert!(body.frame().await.is_some());
            let waits = tokio::time::timeout(Duration::from_millis(120), body.frame()).await;
            assert!(waits.is_err());
            runs.set_write(None);
            assert!(body.frame().await.is_some());
            assert!(body.frame().await.is_none());
        });
    }

    #[test]
    fn waiting_for_a_limit_is_no_stall_and_silence_is() {
        let limits = Arc::new(Limits::new());
        limits.pause();
        let pace = Pace::new(&[Arc::clone(&limits)], &Arc::new(Limits::new()));
        let activity = Activity::new();
        run(async {
            let longest = Duration::from_millis(400);
            tokio::select! {
                () = pace.wait(Way::Down, 1, &activity) => panic!("it is paused"),
                () = activity.stall(longest) => panic!("it waits for its own limit"),
                () = sleep(longest * 2) => {}
            }
            activity.stall(longest).await;
        });
    }
}
