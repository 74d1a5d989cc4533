//! Detectors of kinds of data, and of pages of `PostgreSQL`.
use holdfast_engine::detect::{self, HEAD_BYTES};
use holdfast_engine::postgres::{Page, checksum, judge};

/// The first bytes of a file: any finding is one of the rules, the same each time, and nothing beyond the head counts.
pub fn detect(input: &[u8]) {
    let size = input.len() as u64;
    let found = detect::detect(input, size);
    assert_eq!(found, detect::detect(input, size));
    if let Some(found) = found {
        assert!(detect::RULES.contains(&found.rule));
        assert!(!found.rule.word().is_empty() && !found.confidence.word().is_empty());
    }
    if input.len() >= HEAD_BYTES {
        assert_eq!(found, detect::detect(&input[..HEAD_BYTES], size));
    }
    detect::detect(input, u64::MAX);
    detect::detect(&input[..input.len() / 2], 0);
    pages(input);
}

fn pages(input: &[u8]) {
    let page = judge(input, 3);
    if page == Page::Sound {
        assert!(checksum(input, 3).is_some());
        assert_ne!(
            judge(input, 4),
            Page::Sound,
            "a page is sound in one place only"
        );
    }
}
