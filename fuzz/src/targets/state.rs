//! Writer states.
use holdfast_engine::state::WriterState;

use crate::seal;

/// The plaintext of a writer state: what is read can be written, and comes back the same.
pub fn state(input: &[u8]) {
    match WriterState::parse(input) {
        Err(error) => seal::refused(&error),
        Ok(state) => {
            let again = state.encode().expect("a state that was read");
            assert_eq!(
                WriterState::parse(&again).expect("a state just written"),
                state
            );
        }
    }
}
