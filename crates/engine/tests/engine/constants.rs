//! The limits in the specification are the code's.
use holdfast_engine::limits;

#[test]
fn the_specification_has_the_same_limits() {
    let page = include_str!("../../../../docs/format/README.md");
    let rows: Vec<(&str, usize)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().trim_end_matches('`');
            Some((name, cells.next()?.trim().parse().ok()?))
        })
        .collect();
    assert_eq!(rows, limits::TABLE);
}
