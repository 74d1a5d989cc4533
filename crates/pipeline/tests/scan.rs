//! The scan gives every entry once, in path order, whatever the tree looks like, and leaves out what the rules say.
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdfast_pipeline::scan::{Found, RuleConfig, Scan, ScanConfig, Trouble};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("holdfast-scan-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("folder");
        Self(path)
    }
    fn file(&self, name: &str) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, name).expect("file");
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(
            std::process::Command::new("rm")
                .arg("-rf")
                .arg(&self.0)
                .status(),
        );
    }
}

fn config(roots: &[&Path]) -> ScanConfig {
    ScanConfig {
        roots: roots
            .iter()
            .map(|root| root.as_os_str().as_bytes().to_vec())
            .collect(),
        rules: RuleConfig::default(),
        own_paths: Vec::new(),
        walkers: 2,
    }
}

type Walked = (Vec<Vec<u8>>, Vec<(Vec<u8>, Trouble)>);

fn walk(config: &ScanConfig) -> Walked {
    let mut scan = Scan::start(config, None).expect("scan");
    let (mut paths, mut troubles) = (Vec::new(), Vec::new());
    while let Some(found) = scan.next() {
        match found {
            Found::Entry(entry) => paths.push(entry.path.to_vec()),
            Found::Trouble { path, trouble, .. } => troubles.push((path.to_vec(), trouble)),
        }
    }
    (paths, troubles)
}

/// Paths below `root`, without it.
fn below(root: &Path, paths: &[Vec<u8>]) -> Vec<String> {
    let mut prefix = root.as_os_str().as_bytes()[1..].to_vec();
    prefix.push(b'/');
    let rest = paths
        .iter()
        .filter_map(|path| path.strip_prefix(prefix.as_slice()));
    rest.map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

fn order_key(path: &[u8]) -> Vec<u8> {
    path.iter()
        .map(|byte| if *byte == b'/' { 0 } else { *byte })
        .collect()
}

#[test]
fn folders_come_before_what_is_under_them_and_names_in_byte_order() {
    let folder = Folder::new("order");
    folder
        .file("a/x")
        .file("a.b")
        .file("a/y/z")
        .file("a-")
        .file("b");
    let (paths, _) = walk(&config(&[&folder.0]));
    assert_eq!(
        below(&folder.0, &paths),
        ["a", "a/x", "a/y", "a/y/z", "a-", "a.b", "b"]
    );
    assert_eq!(paths[0], b"");
    assert_eq!(paths[1], b"tmp");
}

#[test]
fn several_roots_share_their_folders_above() {
    let folder = Folder::new("roots");
    folder.file("p/a/1").file("p/b/2").file("p/c/3");
    let roots = [
        folder.0.join("p/c"),
        folder.0.join("p/a"),
        folder.0.join("p/a/1"),
    ];
    let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
    let (paths, _) = walk(&config(&roots));
    assert_eq!(
        below(&folder.0, &paths),
        ["p", "p/a", "p/a/1", "p/c", "p/c/3"]
    );
}

#[test]
fn a_folder_of_many_entries_and_many_folders_is_in_order() {
    let folder = Folder::new("many");
    for n in 0..5000 {
        fs::write(folder.0.join(format!("f{n}")), b"").expect("file");
    }
    for n in 0..1500 {
        folder.file(&format!("d{n}/x"));
    }
    let (paths, troubles) = walk(&config(&[&folder.0]));
    assert!(troubles.is_empty());
    assert_eq!(below(&folder.0, &paths).len(), 5000 + 3000);
    assert!(
        paths
            .windows(2)
            .all(|pair| order_key(&pair[0]) < order_key(&pair[1]))
    );
}

#[test]
fn paths_longer_than_the_system_takes_are_walked() {
    let folder = Folder::new("deep");
    let name = "n".repeat(200);
    let script = format!(
        "cd '{}' && for i in $(seq 60); do mkdir {name} && cd -P ./{name} || exit 1; done; echo x > end",
        folder.0.display()
    );
    // A shell changes folder step by step, so it gets beyond 4,096 bytes.
    let made = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .status()
        .expect("sh");
    let (paths, troubles) = walk(&config(&[&folder.0]));
    assert!(troubles.is_empty(), "{troubles:?}");
    if made.success() {
        assert!(
            paths
                .last()
                .is_some_and(|path| path.len() > 12_000 && path.ends_with(b"/end"))
        );
    }
}

#[test]
fn a_chain_of_two_thousand_folders_needs_few_descriptors() {
    let folder = Folder::new("chain");
    let made = std::process::Command::new("python3")
        .arg("-c")
        .arg("import os,sys\nos.chdir(sys.argv[1])\nfor i in range(2000):\n  os.mkdir('d'); open('z','w').close(); os.chdir('d')")
        .arg(&folder.0)
        .status();
    if made.is_ok_and(|status| status.success()) {
        let (paths, troubles) = walk(&config(&[&folder.0]));
        assert!(troubles.is_empty(), "{troubles:?}");
        assert_eq!(below(&folder.0, &paths).len(), 4000);
    }
}

#[test]
fn what_the_rules_leave_out_is_not_there() {
    let folder = Folder::new("rules");
    folder
        .file("keep/a")
        .file("keep/a.tmp")
        .file("cache/x")
        .file("cache/y")
        .file("own/pack")
        .file("big");
    fs::write(
        folder.0.join("cache/CACHEDIR.TAG"),
        b"Signature: 8a477f597d28d172789f06886806bc55\n",
    )
    .expect("tag");
    fs::write(folder.0.join("big"), vec![0; 2000]).expect("big");
    let mut config = config(&[&folder.0]);
    config.rules = RuleConfig {
        exclude: vec!["*.tmp".into()],
        exclude_caches: true,
        file_bytes_max: Some(1000),
        ..RuleConfig::default()
    };
    config.own_paths = vec![folder.0.join("own").into_os_string().into_encoded_bytes()];
    let (paths, _) = walk(&config);
    assert_eq!(
        below(&folder.0, &paths),
        ["cache", "cache/CACHEDIR.TAG", "keep", "keep/a"]
    );
}

#[test]
fn classes_follow_the_last_rule_or_the_folder() {
    let folder = Folder::new("classes");
    folder.file("img/a").file("img/b.txt").file("c");
    let mut config = config(&[&folder.0]);
    config.rules.default_class = 1;
    config.rules.classes = vec![("img/".into(), 3), ("*.txt".into(), 5)];
    let mut scan = Scan::start(&config, None).expect("scan");
    let mut classes = Vec::new();
    while let Some(found) = scan.next() {
        if let Found::Entry(entry) = found {
            classes.push(entry.class);
        }
    }
    assert_eq!(classes, [1, 1, 1, 1, 3, 3, 5]);
}

#[test]
fn sockets_links_odd_names_and_missing_roots() {
    let folder = Folder::new("odd");
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("socket")).expect("socket");
    std::os::unix::fs::symlink("nowhere", folder.0.join("link")).expect("link");
    fs::write(folder.0.join(OsStr::from_bytes(b"\xff\x01\n")), b"x").expect("file");
    let missing = folder.0.join("missing/deep");
    let (paths, troubles) = walk(&config(&[&folder.0]));
    assert_eq!(below(&folder.0, &paths).len(), 2);
    assert!(matches!(troubles.as_slice(), [(_, Trouble::Socket)]));
    let (_, troubles) = walk(&config(&[&missing]));
    assert!(matches!(troubles.as_slice(), [(_, Trouble::Vanished)]));
}

#[test]
fn a_scan_can_be_dropped_in_the_middle() {
    let folder = Folder::new("drop");
    for n in 0..300 {
        folder.file(&format!("{n}/a/b"));
    }
    let mut scan = Scan::start(&config(&[&folder.0]), None).expect("scan");
    for _ in 0..10 {
        assert!(scan.next().is_some());
    }
}
