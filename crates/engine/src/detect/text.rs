//! Identifiers of people in plain text: social security numbers, provider numbers, record numbers, prescribers.
//!
//! Each has a check of its own; several different ones must be there. What is compared are short digests, dropped at once.
use super::words::{Confidence, Detection, Rule};

/// So many different identifiers make a file one about people.
const HITS_MIN: usize = 3;
/// What is looked at for being text.
const SAMPLE_BYTES: usize = 512;

/// Whether the text names people by their numbers.
pub(super) fn identifiers(head: &[u8]) -> Option<Detection> {
    let sample = head.get(..SAMPLE_BYTES).unwrap_or(head);
    let odd = sample
        .iter()
        .filter(|byte| **byte < 9 || (14..32).contains(*byte))
        .count();
    if odd * 50 > sample.len() {
        return None;
    }
    let mut hits = Hits::default();
    let mut at = 0;
    while let Some(byte) = head.get(at) {
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let rest = head.get(at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let before = head.get(..at).unwrap_or_default();
        if hits.number(before, rest, digits) {
            return Rule::Identifiers.found(Confidence::Possible);
        }
        at += digits;
    }
    None
}

#[derive(Default)]
struct Hits {
    seen: [u64; HITS_MIN],
    count: usize,
}

impl Hits {
    /// Looks at one run of digits between what is before it and what begins with it; whether there are enough hits.
    fn number(&mut self, before: &[u8], rest: &[u8], digits: usize) -> bool {
        let outside = before
            .last()
            .is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let hit = match digits {
            3 if outside => rest
                .get(..11)
                .filter(|text| is_social_security(text, rest.get(11))),
            10 if outside => rest.get(..10).filter(|text| is_provider(text)),
            7 => rest.get(..7).filter(|text| is_prescriber(before, text)),
            _ => None,
        };
        let hit = hit.or_else(|| {
            (5..=12)
                .contains(&digits)
                .then(|| rest.get(..digits))
                .flatten()
                .filter(|_| is_record(before))
        });
        hit.is_some_and(|text| self.add(text))
    }

    fn add(&mut self, text: &[u8]) -> bool {
        let digest = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let seen = self.seen.get(..self.count).unwrap_or_default();
        if !seen.contains(&digest)
            && let Some(place) = self.seen.get_mut(self.count)
        {
            *place = digest;
            self.count += 1;
        }
        self.count >= HITS_MIN
    }
}

/// `AAA-GG-SSSS` with an area, group and serial that were ever given out (SSA, since 2011).
fn is_social_security(text: &[u8], after: Option<&u8>) -> bool {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let shaped = text.get(3) == Some(&b'-')
        && text.get(6) == Some(&b'-')
        && [0, 1, 2, 4, 5, 7, 8, 9, 10].into_iter().all(digit)
        && after.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
    let area = text.get(..3).unwrap_or_default();
    shaped
        && area != b"000"
        && area != b"666"
        && area.first() != Some(&b'9')
        && text.get(4..6) != Some(b"00")
        && text.get(7..11) != Some(b"0000")
}

/// National provider identifier: begins with 1 or 2; the Luhn digit over it with the prefix 80840 (45 CFR 162.406), whose
/// part of the sum is 24.
fn is_provider(text: &[u8]) -> bool {
    let sum: u32 = text
        .iter()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0');
            match (at % 2, digit) {
                (0, digit) => digit,
                (_, digit) if digit > 4 => digit * 2 - 9,
                (_, digit) => digit * 2,
            }
        })
        .sum();
    matches!(text.first(), Some(b'1' | b'2')) && (sum + 24).is_multiple_of(10)
}

/// DEA number: two letters, six digits, and their weighted sum's last digit.
fn is_prescriber(before: &[u8], text: &[u8]) -> bool {
    let letters = before
        .len()
        .checked_sub(2)
        .and_then(|from| before.get(from..));
    let lettered = letters.is_some_and(|pair| {
        pair.iter().all(u8::is_ascii_uppercase)
            && pair.first().is_some_and(|byte| b"ABFGMPRX".contains(byte))
    });
    let digit = |at: usize| text.get(at).map_or(0, |byte| u32::from(byte - b'0'));
    let sum = digit(0) + digit(2) + digit(4) + 2 * (digit(1) + digit(3) + digit(5));
    lettered && sum % 10 == digit(6)
}

/// A medical record number: the word before it says so.
fn is_record(before: &[u8]) -> bool {
    let near = before
        .len()
        .checked_sub(8)
        .and_then(|from| before.get(from..))
        .unwrap_or(before);
    let words = near.trim_ascii_end();
    let words = words
        .strip_suffix(b":")
        .or_else(|| words.strip_suffix(b"#"))
        .or_else(|| words.strip_suffix(b"="))
        .unwrap_or(words)
        .trim_ascii_end();
    words
        .len()
        .checked_sub(3)
        .and_then(|from| words.get(from..))
        .is_some_and(|word| word.eq_ignore_ascii_case(b"mrn"))
}
