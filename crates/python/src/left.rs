//! What walks for Python leave out.
use holdfast_engine::Error as EngineError;
use holdfast_engine::cursor::Lost;
use holdfast_pipeline::reader::{is_of_one_segment, unwrap_outside};

/// Why a walk had to leave something out, if it had to.
#[derive(Default)]
pub struct Left(Option<EngineError>);

impl Left {
    /// Notes a part if an error is of one part only, and hands back what must end the walk.
    pub fn note(
        &mut self,
        error: EngineError,
        skip: impl FnOnce() -> Option<Lost>,
    ) -> Result<(), EngineError> {
        if !is_of_one_segment(&unwrap_outside(error.clone())) {
            return Err(error);
        }
        if skip().is_none() {
            return Err(error);
        }
        self.0.get_or_insert(error);
        Ok(())
    }

    /// The last answer of a walk that left something out: damage, once.
    pub fn end(&mut self) -> Result<(), EngineError> {
        self.0.take().map_or(Ok(()), Err)
    }
}
