//! Patterns of what is left out and of data classes, as `.gitignore` has them.
use std::collections::HashSet;

use holdfast_pipeline::scan::rules::{RuleConfig, Rules};

const PATTERNS_MAX: usize = 16;
const PATTERN_BYTES_MAX: usize = 256;

/// Lines: patterns, and last a path. A pattern is understood or named by its position; a decision is always the same.
pub fn patterns(input: &[u8]) {
    let mut lines: Vec<&[u8]> = input
        .split(|byte| *byte == b'\n')
        .take(PATTERNS_MAX + 1)
        .collect();
    let path = lines.pop().unwrap_or_default();
    let patterns: Vec<String> = lines
        .into_iter()
        .map(|line| {
            String::from_utf8_lossy(line.get(..PATTERN_BYTES_MAX).unwrap_or(line)).into_owned()
        })
        .collect();
    let config = RuleConfig {
        classes: patterns.iter().cloned().zip(1..).collect(),
        exclude: patterns.clone(),
        default_class: 7,
        raised: vec![(path.to_vec(), 2)],
        ..RuleConfig::default()
    };
    match Rules::new(&config, HashSet::new()) {
        Err(error) => assert!(error.position <= patterns.len()),
        Ok(rules) => {
            for is_folder in [false, true] {
                assert_eq!(
                    rules.excluded(path, is_folder),
                    rules.excluded(path, is_folder)
                );
                let class = rules.class(path, is_folder, 7);
                assert!(class == 7 || usize::from(class) <= patterns.len());
            }
            let class = rules.class_from_top(path);
            assert!(class == 7 || class == 2 || usize::from(class) <= patterns.len());
            let (own, within) = rules.raised(path, 7);
            assert!(own <= 7 && within <= 7);
        }
    }
}
