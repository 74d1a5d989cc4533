//! Texts that name things: locations, ids; and the envelope of a run key.
use holdfast_engine::pack::Envelope;
use holdfast_engine::{Id, Location, PackName, PackNonce, VaultId};

use crate::seal;

/// Whatever is read has one spelling.
pub fn words(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        match text.parse::<Location>() {
            Err(error) => seal::refused(&error),
            Ok(location) => assert_eq!(location.to_string(), text),
        }
        spelled::<Id>(text);
        spelled::<PackName>(text);
        spelled::<PackNonce>(text);
        spelled::<VaultId>(text);
    }
    match Envelope::new(input.to_vec()) {
        Err(error) => seal::refused(&error),
        Ok(envelope) => {
            assert_eq!(
                Envelope::from_recipients(&envelope.recipients()).expect("read"),
                envelope
            );
        }
    }
}

fn spelled<T: std::str::FromStr<Err = holdfast_engine::Error> + std::fmt::Display>(text: &str) {
    match text.parse::<T>() {
        Err(error) => seal::refused(&error),
        Ok(value) => assert_eq!(value.to_string(), text),
    }
}
