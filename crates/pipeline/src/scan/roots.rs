//! The paths a run was asked for, as a tree of names: which folders are only passed through, and where everything is wanted.
use std::collections::BTreeMap;
use std::sync::Arc;

/// A folder on the way to a path that was asked for, or such a path itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RootNode {
    /// Everything from here down is wanted.
    pub whole: bool,
    /// Names on the way to wanted paths; empty where `whole`.
    pub children: BTreeMap<Vec<u8>, Arc<RootNode>>,
}

impl RootNode {
    /// Builds the tree of absolute paths. Doubles and paths under another one are merged; `.`, empty components and
    /// trailing slashes are dropped. A path with `..` is the caller's mistake and gives `None`.
    pub fn from_paths(paths: &[Vec<u8>]) -> Option<Self> {
        let mut top = Self::default();
        for path in paths {
            let rest = path.strip_prefix(b"/")?;
            let names: Vec<&[u8]> = rest
                .split(|byte| *byte == b'/')
                .filter(|name| !name.is_empty() && *name != b".")
                .collect();
            if names.contains(&&b".."[..]) {
                return None;
            }
            top.add(&names);
        }
        Some(top)
    }

    fn add(&mut self, names: &[&[u8]]) {
        let mut node = self;
        for name in names {
            if node.whole {
                return;
            }
            node = Arc::make_mut(node.children.entry(name.to_vec()).or_default());
        }
        node.whole = true;
        node.children.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Option<RootNode> {
        RootNode::from_paths(
            &list
                .iter()
                .map(|p| p.as_bytes().to_vec())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn doubles_and_nested_paths_are_merged() {
        let merged = paths(&["/srv/a/b", "/srv/a", "/srv/a/", "//srv/./a/c", "/var"]);
        assert_eq!(merged, paths(&["/var", "/srv/a"]));
        assert!(paths(&["/", "/srv"]).is_some_and(|top| top.whole && top.children.is_empty()));
    }

    #[test]
    fn relative_paths_and_dot_dot_are_refused() {
        assert_eq!(paths(&["srv"]), None);
        assert_eq!(paths(&["/srv/../etc"]), None);
    }
}
