//! Names of users and groups, read once.
use std::collections::HashMap;

/// Who the numbers are.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// Names of users.
    pub users: HashMap<u32, Vec<u8>>,
    /// Names of groups.
    pub groups: HashMap<u32, Vec<u8>>,
}

impl Owners {
    /// As `/etc/passwd` and `/etc/group` of this machine say; what cannot be read has no names.
    pub fn of_this_machine() -> Self {
        let table = |path: &str| {
            std::fs::read(path)
                .map(|text| parse(&text))
                .unwrap_or_default()
        };
        Self {
            users: table("/etc/passwd"),
            groups: table("/etc/group"),
        }
    }
}

/// `name:password:number:…` per line; the first line of a number counts.
fn parse(text: &[u8]) -> HashMap<u32, Vec<u8>> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, number) = (fields.next(), fields.nth(1));
        let number = number
            .and_then(|n| std::str::from_utf8(n).ok())
            .and_then(|n| n.parse().ok());
        if let (Some(name), Some(number)) = (name, number) {
            names.entry(number).or_insert_with(|| name.to_vec());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_accounts_are_passed_over() {
        let names =
            parse(b"root:x:0:0:root:/root:/bin/sh\n\n#\nbad:x:y:1\ntoor:x:0:0\ndaemon:*:1:1\n");
        assert_eq!(names.len(), 2);
        assert_eq!(names.get(&0).map(Vec::as_slice), Some(&b"root"[..]));
    }
}
