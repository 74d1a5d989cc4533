//! A run stores what is on the disk, a second run stores nothing when nothing changed, and trouble with a file is a finding.
mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;

use aws_lc_rs::digest::{SHA256, digest};
use common::{Scratch, Vault, noise, on_disk};
use holdfast_engine::content::{Content, Piece};
use holdfast_engine::entry::EntryKind;
use holdfast_engine::{PackKind, Role};
use holdfast_pipeline::ingest::FindingKind;

fn fill(scratch: &Scratch) {
    scratch.file("empty", b"");
    scratch.file("tiny", b"in the entry itself");
    scratch.file("small", &noise(1, 5000));
    scratch.file(
        "text/one",
        "OBX|1|NM|8867-4^Heart rate\r".repeat(200).as_bytes(),
    );
    scratch.file(
        "text/two",
        "OBX|1|NM|8867-4^Heart rate\r".repeat(200).as_bytes(),
    );
    scratch.file("medium", &noise(2, 200_000));
    scratch.file("large", &noise(3, 9_000_001));
    for n in 0..300 {
        scratch.file(
            &format!("many/{}/{n}", n % 7),
            &noise(n, 100 + n as usize * 10),
        );
    }
}

#[test]
fn what_is_stored_is_what_is_on_the_disk() {
    let scratch = Scratch::new("roundtrip");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    let outcome = vault.backup(&scratch.src());
    assert_eq!(outcome.findings, []);
    let stored = vault.files(outcome.root(), &scratch.src());
    let disk = on_disk(&scratch.src());
    assert!(stored.keys().eq(disk.keys()));
    assert!(stored == disk);
    let refs = &outcome.finished.classes[0].refs;
    for (origin, segment) in refs.iter() {
        assert!(vault.index.has_segment(&origin, segment).expect("index"));
    }
    assert_eq!(outcome.finished.counts.files as usize, disk.len());
}

/// As if the run came long after the files: their times are to be trusted.
fn later(vault: &mut Vault) {
    vault.options.started_s = i64::from(u32::MAX);
}

#[test]
fn nothing_changed_means_the_same_root_and_nothing_stored() {
    let scratch = Scratch::new("unchanged");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    let first = vault.backup(&scratch.src());
    assert!(first.finished.cache_written);
    let second = vault.backup(&scratch.src());
    assert_eq!(second.root(), first.root());
    assert_eq!(second.packs, []);
    assert!(!second.finished.cache_written);
    assert!(second.finished.state.is_none());
    assert_eq!(second.finished.counts.read_bytes, 0);
    let counts = second.finished.counts;
    assert_eq!((counts.new, counts.changed, counts.removed), (0, 0, 0));
    assert_eq!(
        second.finished.classes[0].refs,
        first.finished.classes[0].refs
    );
}

#[test]
fn without_a_cache_everything_is_read_and_nothing_stored() {
    let scratch = Scratch::new("nocache");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    let first = vault.backup(&scratch.src());
    vault.cache = None;
    vault.writer_state.clear();
    let second = vault.backup(&scratch.src());
    assert_eq!(second.root(), first.root());
    assert_eq!(second.packs, []);
    assert!(second.finished.counts.read_bytes > 9_000_000);
}

#[test]
fn a_lost_cache_is_made_up_for_by_the_writer_state() {
    let scratch = Scratch::new("state");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    let first = vault.backup(&scratch.src());
    assert!(first.finished.state.as_ref().is_some_and(|(_, base)| *base));
    scratch.file("another", &noise(77, 300_000));
    fs::remove_file(scratch.src().join("medium")).expect("removed");
    let second = vault.backup(&scratch.src());
    assert!(
        second
            .finished
            .state
            .as_ref()
            .is_some_and(|(_, base)| !*base)
    );
    vault.cache = None;
    let third = vault.backup(&scratch.src());
    assert_eq!(third.root(), second.root());
    assert!(third.finished.counts.read_bytes < 3_000_000);
    assert!(third.finished.cache_written);
    assert!(third.finished.state.is_none());
}

#[test]
fn a_change_is_found_and_only_it_is_stored() {
    let scratch = Scratch::new("change");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    vault.backup(&scratch.src());
    scratch.file(
        "many/3/45",
        b"something else, longer than what goes into the entry itself, by a few bytes",
    );
    fs::remove_file(scratch.src().join("text/two")).expect("removed");
    scratch.file("new/file", &noise(99, 70_000));
    let outcome = vault.backup(&scratch.src());
    assert_eq!(outcome.findings, []);
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
    let counts = outcome.finished.counts;
    // The folders of what changed, changed.
    assert_eq!((counts.new, counts.changed, counts.removed), (2, 3, 1));
    assert!(counts.read_bytes < 71_000);
    assert!(outcome.stored() < 110_000, "{}", outcome.stored());
}

#[test]
fn a_file_that_just_changed_is_read_again() {
    let scratch = Scratch::new("racy");
    scratch.file("file", &noise(1, 3000));
    let mut vault = Vault::new(&scratch);
    vault.options.started_s = 0;
    vault.backup(&scratch.src());
    let second = vault.backup(&scratch.src());
    assert_eq!(second.finished.counts.read_bytes, 3000);
    assert_eq!(second.packs, []);
}

#[test]
fn an_audit_finds_what_changed_behind_its_times() {
    let scratch = Scratch::new("audit");
    scratch.file("good", &noise(1, 3000));
    scratch.file("rotten", &noise(2, 3000));
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    vault.backup(&scratch.src());
    // A cache that remembers another content under the same times stands for rot on the disk.
    let cache = vault.cache.clone().expect("cache");
    let mut bytes = fs::read(&cache).expect("cache");
    let mark = common::keys(1).id(Role::Chunk, &noise(2, 3000)).0[..8].to_vec();
    let at = bytes
        .windows(8)
        .position(|window| window == mark)
        .expect("the mark");
    bytes[at] ^= 1;
    let length = u32::from_le_bytes(bytes[..4].try_into().expect("length")) as usize;
    let sum = digest(&SHA256, &bytes[12..12 + length]);
    bytes[4..12].copy_from_slice(&sum.as_ref()[..8]);
    fs::write(&cache, bytes).expect("cache");
    vault.options.audit_files = 1000;
    let outcome = vault.backup(&scratch.src());
    let found: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(found, [FindingKind::SilentChange]);
    assert!(outcome.findings[0].path.ends_with(b"/rotten"));
    assert_eq!(outcome.finished.counts.read_bytes, 6000);
    let again = vault.backup(&scratch.src());
    assert_eq!(again.findings, []);
}

#[test]
fn content_that_may_not_be_referred_to_any_more_is_read_and_stored_again() {
    let scratch = Scratch::new("excluded");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    vault.backup(&scratch.src());
    let packs: Vec<_> = vault.packs.keys().copied().collect();
    vault.index.exclude(&packs);
    let outcome = vault.backup(&scratch.src());
    assert!(outcome.stored() > 9_000_000);
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

#[test]
fn holes_stay_holes_and_a_tebibyte_of_them_takes_no_time() {
    let scratch = Scratch::new("sparse");
    let path = scratch.src().join("sparse");
    let file = fs::File::create(&path).expect("file");
    file.set_len(1 << 40).expect("length");
    std::os::unix::fs::FileExt::write_all_at(&file, &noise(5, 100_000), 1 << 39).expect("data");
    let mut vault = Vault::new(&scratch);
    let outcome = vault.backup(&scratch.src());
    let entries = vault.entries(outcome.root());
    let Some(EntryKind::File {
        size,
        content: Content::Pieces(pieces),
    }) = entries.last().map(|entry| &entry.kind)
    else {
        panic!("a file in pieces")
    };
    assert_eq!(*size, 1 << 40);
    assert!(matches!(pieces[0], Piece { place: None, .. }));
    assert_eq!(pieces.iter().map(|piece| piece.len).sum::<u64>(), 1 << 40);
    assert!(outcome.stored() < 200_000);
}

#[test]
fn links_owners_attributes_and_odd_names_are_kept() {
    let scratch = Scratch::new("odd");
    let src = scratch.src();
    scratch.file("first", &noise(1, 5000));
    fs::hard_link(src.join("first"), src.join("second")).expect("link");
    std::os::unix::fs::symlink("../../nowhere", src.join("symlink")).expect("symlink");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        src.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("fifo");
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe\n\x01");
    fs::write(src.join(odd), b"odd").expect("file");
    let attribute = rustix::fs::setxattr(
        src.join("first"),
        "user.note",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    );
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    let outcome = vault.backup(&src);
    assert_eq!(outcome.findings, []);
    let entries = vault.entries(outcome.root());
    let find = |name: &[u8]| {
        entries
            .iter()
            .find(|entry| entry.path.ends_with(name))
            .expect("entry")
    };
    assert_eq!(find(b"/first").link_id, find(b"/second").link_id);
    assert!(find(b"/first").link_id.is_some());
    assert_eq!(find(b"/first").kind, find(b"/second").kind);
    assert_eq!(
        find(b"/symlink").kind,
        EntryKind::Symlink {
            target: b"../../nowhere".to_vec()
        }
    );
    assert_eq!(find(b"/pipe").kind, EntryKind::Fifo);
    assert_eq!(find(odd.as_bytes()).mode, 0o644);
    if attribute.is_ok() {
        assert_eq!(
            find(b"/first").xattrs,
            [(b"user.note".to_vec(), b"kept".to_vec())]
        );
    }
    // Read once, though it has two names.
    assert_eq!(outcome.finished.counts.read_bytes, 5003);
    let again = vault.backup(&src);
    assert_eq!(again.root(), outcome.root());
}

#[test]
fn classes_have_trees_of_their_own() {
    let scratch = Scratch::new("classes");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    vault.classes = vec![1, 5];
    vault.rules.classes = vec![("many".into(), 1)];
    let outcome = vault.backup(&scratch.src());
    let [phi, other] = outcome.finished.classes.as_slice() else {
        panic!("two classes")
    };
    let mut files = vault.files(phi.root.location, &scratch.src());
    assert!(files.keys().all(|path| !path.starts_with(b"many")));
    files.extend(vault.files(other.root.location, &scratch.src()));
    assert!(files == on_disk(&scratch.src()));
}

#[test]
fn streams_are_files_if_their_command_succeeds() {
    let scratch = Scratch::new("streams");
    scratch.file("file", b"x");
    let mut vault = Vault::new(&scratch);
    let stream = |path: &str, script: &str| holdfast_pipeline::ingest::StreamSpec {
        path: path.as_bytes().to_vec(),
        command: ["sh", "-c", script]
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect(),
        class: None,
        environment: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
        shows_errors: false,
    };
    vault.streams = vec![
        stream("dumps/good", "head -c 3000000 /dev/zero | tr '\\0' 'a'"),
        stream(
            "dumps/bad",
            "echo half; echo of a name >&2; test -z \"$HOME\" && exit 3",
        ),
        stream("zzz", "true"),
    ];
    let outcome = vault.backup(&scratch.src());
    let found: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| (finding.kind, finding.path.as_slice()))
        .collect();
    assert_eq!(found, [(FindingKind::StreamFailed, &b"dumps/bad"[..])]);
    let detail = outcome.findings[0].detail.as_str();
    assert!(
        detail.starts_with("exit code 3; 10 bytes on standard error, SHA-256 "),
        "{detail}"
    );
    assert!(!detail.contains("name"));
    let entries = vault.entries(outcome.root());
    let sizes: Vec<_> = entries
        .iter()
        .map(|entry| (entry.path.as_slice(), entry.content_bytes()))
        .collect();
    assert!(sizes.contains(&(b"dumps/good", 3_000_000)));
    assert!(sizes.contains(&(b"zzz", 0)));
    assert!(!sizes.iter().any(|(path, _)| *path == b"dumps/bad"));
}

#[test]
fn files_that_cannot_be_read_are_findings() {
    let scratch = Scratch::new("unreadable");
    scratch.file("fine", b"fine");
    let _socket =
        std::os::unix::net::UnixListener::bind(scratch.src().join("socket")).expect("socket");
    let mut vault = Vault::new(&scratch);
    let outcome = vault.backup(&scratch.src());
    let found: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(found, [FindingKind::Socket]);
    assert_eq!(vault.files(outcome.root(), &scratch.src()).len(), 1);
}

#[test]
fn checkpoints_make_stored_packs_known_while_the_run_goes_on() {
    let scratch = Scratch::new("checkpoints");
    for n in 0..20 {
        scratch.file(&format!("{n}"), &noise(n, 2_000_000));
    }
    let mut vault = Vault::new(&scratch);
    vault.options.pack_bytes = 4 << 20;
    vault.options.checkpoint.bytes = 8 << 20;
    let outcome = vault.backup(&scratch.src());
    assert!(outcome.checkpoints >= 2, "{}", outcome.checkpoints);
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

#[test]
fn a_stopped_run_hands_out_what_is_complete_and_the_next_stores_only_the_rest() {
    let scratch = Scratch::new("stop");
    for n in 0..40 {
        scratch.file(&format!("{n}"), &noise(n, 2_000_000));
    }
    let mut vault = Vault::new(&scratch);
    vault.options.pack_bytes = 4 << 20;
    vault.limits.set_read(Some(60_000_000));
    let (run, _) = vault.start(&[&scratch.src()]);
    std::thread::sleep(std::time::Duration::from_millis(400));
    let begin = std::time::Instant::now();
    run.stop();
    assert!(vault.drive(&run).is_none());
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    let kept: usize = vault.packs.values().map(|pack| pack.len()).sum();
    assert!(kept > 4_000_000);
    vault.limits.set_read(None);
    let outcome = vault.backup(&scratch.src());
    assert!(
        outcome.stored() + kept < 80_000_000 + 13_000_000,
        "{} {kept}",
        outcome.stored()
    );
    let data = outcome
        .packs
        .iter()
        .filter(|(kind, _)| *kind == PackKind::Data)
        .count();
    assert!(data > 0);
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

fn rewrite_pages(path: &std::path::Path, pages: &[u64], page_bytes: u64, seed: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("file");
    for page in pages {
        let bytes = noise(seed + page, page_bytes as usize);
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, page * page_bytes).expect("page");
    }
}

#[test]
fn a_changed_page_of_a_database_costs_a_page() {
    let scratch = Scratch::new("pages");
    // 32 MiB less a bit, of 8 KiB pages.
    let size = (32 << 20) - 4096;
    scratch.file("db/base", &noise(1, size));
    let path = scratch.src().join("db/base");
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    let first = vault.backup(&scratch.src());
    assert!(vault.files(first.root(), &scratch.src()) == on_disk(&scratch.src()));
    for round in 0..6_u64 {
        let pages: Vec<u64> = (0..40).map(|n| (n * 97 + round * 31) % 4095).collect();
        rewrite_pages(&path, &pages, 8192, 1000 + round * 10_000);
        let outcome = vault.backup(&scratch.src());
        assert_eq!(outcome.findings, []);
        assert!(
            vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()),
            "round {round}"
        );
        // Pages, new groups of every one touched, and the tree.
        assert!(
            outcome.stored() < 40 * 8192 * 3 / 2 + 200_000,
            "{}",
            outcome.stored()
        );
        for (origin, segment) in outcome.finished.classes[0].refs.iter() {
            assert!(vault.index.has_segment(&origin, segment).expect("index"));
        }
    }
    let again = vault.backup(&scratch.src());
    assert_eq!(again.packs, []);
    assert_eq!(
        fs::read_dir(scratch.0.join("state/source.pages"))
            .expect("folder")
            .count(),
        2 - 1
    );
}

#[test]
fn a_database_that_grows_shrinks_or_loses_its_copy_of_groups_is_stored_right() {
    let scratch = Scratch::new("grow");
    let mut content = b"SQLite format 3\0\x10\x00".to_vec();
    content.extend(noise(4, (3 << 20) - 18));
    scratch.file("db.sqlite", &content);
    let path = scratch.src().join("db.sqlite");
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    vault.backup(&scratch.src());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("file");
    for len in [(3 << 20) + 100, 4 << 20, 2_000_000, 1_500_001, 0] {
        file.set_len(len).expect("length");
        let outcome = vault.backup(&scratch.src());
        assert!(
            vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()),
            "{len}"
        );
    }
    fs::write(&path, &content).expect("content");
    vault.backup(&scratch.src());
    drop(fs::remove_dir_all(scratch.0.join("state/source.pages")));
    rewrite_pages(&path, &[5, 6, 7], 4096, 9);
    let outcome = vault.backup(&scratch.src());
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

#[test]
fn a_sparse_image_in_pages_keeps_its_holes() {
    let scratch = Scratch::new("image");
    let path = scratch.src().join("image");
    let file = fs::File::create(&path).expect("file");
    file.set_len(64 << 20).expect("length");
    std::os::unix::fs::FileExt::write_all_at(&file, b"QFI\xfb", 0).expect("magic");
    std::os::unix::fs::FileExt::write_all_at(&file, &noise(5, 3_000_000), 20 << 20).expect("data");
    let mut vault = Vault::new(&scratch);
    let outcome = vault.backup(&scratch.src());
    assert!(outcome.stored() < 3_300_000, "{}", outcome.stored());
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

#[test]
fn a_dry_run_counts_and_stores_nothing() {
    let scratch = Scratch::new("dry");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    vault.options.dry_run = true;
    let outcome = vault.backup(&scratch.src());
    let counts = outcome.finished.counts;
    assert_eq!(counts.files as usize, on_disk(&scratch.src()).len());
    assert_eq!(counts.read_bytes, counts.bytes);
    assert!(
        outcome.packs.is_empty()
            && outcome.finished.classes.is_empty()
            && !outcome.finished.cache_written
    );
}

#[test]
fn files_that_change_or_vanish_while_the_run_reads_are_findings_and_the_rest_is_right() {
    let scratch = Scratch::new("changing");
    scratch.file("a-growing", &noise(1, 6_000_001));
    for n in 0..3000 {
        scratch.file(&format!("b/{n:04}"), &noise(n, 3000));
    }
    scratch.file("c-gone", &noise(3, 5000));
    let mut vault = Vault::new(&scratch);
    vault.limits.set_read(Some(12_000_000));
    let path = scratch.src().join("a-growing");
    let gone = scratch.src().join("c-gone");
    let writer = std::thread::spawn(move || {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(path)
            .expect("file");
        for step in 0..150_u64 {
            std::io::Write::write_all(&mut file, &noise(step, 1000)).expect("append");
            std::thread::sleep(std::time::Duration::from_millis(10));
            if step == 20 {
                drop(fs::remove_file(&gone));
            }
        }
    });
    let outcome = vault.backup(&scratch.src());
    writer.join().expect("joined");
    let kinds: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert!(
        kinds.contains(&FindingKind::ChangedWhileReading),
        "{kinds:?}"
    );
    let stored = vault.files(outcome.root(), &scratch.src());
    let mut disk = on_disk(&scratch.src());
    let grown = disk.remove(&b"a-growing"[..]).expect("on disk");
    assert!(grown.starts_with(&stored[&b"a-growing"[..]]));
    for (name, content) in disk {
        assert!(stored.get(&name) == Some(&content));
    }
    // It was not trusted: the next run reads it again.
    vault.limits.set_read(None);
    let outcome = vault.backup(&scratch.src());
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

#[test]
fn a_stop_ends_what_a_command_started_too() {
    let scratch = Scratch::new("group");
    let mut vault = Vault::new(&scratch);
    let noted = scratch.src().with_file_name("pid");
    let script = format!("sleep 60 & echo $! > {}; wait", noted.display());
    vault.streams = vec![holdfast_pipeline::ingest::StreamSpec {
        path: b"dump".to_vec(),
        command: [&b"sh"[..], b"-c", script.as_bytes()]
            .map(<[u8]>::to_vec)
            .to_vec(),
        class: None,
        environment: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
        shows_errors: true,
    }];
    let (run, _) = vault.start(&[&scratch.src()]);
    let pid = loop {
        let text = fs::read_to_string(&noted).unwrap_or_default();
        if let Ok(pid) = text.trim().parse::<u32>() {
            break pid;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    run.stop();
    assert!(vault.drive(&run).is_none());
    drop(run);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn an_entry_that_a_tree_refuses_is_a_finding() {
    let scratch = Scratch::new("refused");
    let mut vault = Vault::new(&scratch);
    let stream = |words: &[&[u8]]| holdfast_pipeline::ingest::StreamSpec {
        path: b"dump".to_vec(),
        command: words.iter().map(|word| word.to_vec()).collect(),
        class: None,
        environment: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
        shows_errors: false,
    };
    vault.streams = vec![
        stream(&[b"echo", b"one"]),
        stream(&[b"echo", b"two"]),
        holdfast_pipeline::ingest::StreamSpec {
            path: b"nothing".to_vec(),
            ..stream(&[b"/no/such/program"])
        },
        holdfast_pipeline::ingest::StreamSpec {
            path: b"signal".to_vec(),
            ..stream(&[b"sh", b"-c", b"kill -9 $$"])
        },
        holdfast_pipeline::ingest::StreamSpec {
            path: b"void".to_vec(),
            ..stream(&[])
        },
    ];
    let outcome = vault.backup(&scratch.src());
    let mut found: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| {
            (
                finding.path.as_slice(),
                finding.kind,
                finding.detail.as_str(),
            )
        })
        .collect();
    found.sort_by_key(|row| row.0);
    let missing = "No such file or directory (os error 2)";
    assert_eq!(
        found,
        [
            (&b"dump"[..], FindingKind::Refused, ""),
            (b"nothing", FindingKind::StreamFailed, missing),
            (b"signal", FindingKind::StreamFailed, "ended by signal 9"),
            (b"void", FindingKind::StreamFailed, missing),
        ]
    );
}

#[test]
fn a_silent_command_does_not_keep_a_run_from_stopping() {
    let scratch = Scratch::new("silent");
    let mut vault = Vault::new(&scratch);
    vault.streams = vec![holdfast_pipeline::ingest::StreamSpec {
        path: b"dump".to_vec(),
        command: [&b"sleep"[..], b"60"].map(<[u8]>::to_vec).to_vec(),
        class: None,
        environment: Vec::new(),
        shows_errors: false,
    }];
    let (run, _) = vault.start(&[&scratch.src()]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let begin = std::time::Instant::now();
    run.stop();
    assert!(vault.drive(&run).is_none());
    drop(run);
    assert!(begin.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn a_file_of_two_names_that_grows_before_it_is_read_is_whole_under_both() {
    let scratch = Scratch::new("linked-growing");
    scratch.file("first", &noise(2, 200_000));
    fs::hard_link(scratch.src().join("first"), scratch.src().join("second")).expect("link");
    let mut vault = Vault::new(&scratch);
    let (limits, path) = (
        std::sync::Arc::clone(&vault.limits),
        scratch.src().join("first"),
    );
    limits.pause();
    let writer = std::thread::spawn(move || {
        // The scan is through by then, and the reader waits.
        std::thread::sleep(std::time::Duration::from_millis(400));
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(path)
            .expect("file");
        std::io::Write::write_all(&mut file, &noise(3, 1000)).expect("append");
        limits.resume();
    });
    let outcome = vault.backup(&scratch.src());
    writer.join().expect("joined");
    let stored = vault.files(outcome.root(), &scratch.src());
    assert_eq!(stored[&b"second"[..]].len(), 201_000);
    assert!(stored[&b"first"[..]] == stored[&b"second"[..]]);
    let outcome = vault.backup(&scratch.src());
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
}

#[test]
fn a_writer_state_does_not_vouch_for_a_file_that_may_have_changed_unseen() {
    let scratch = Scratch::new("racy-state");
    scratch.file("file", &noise(1, 300_000));
    let mut vault = Vault::new(&scratch);
    vault.options.started_s = 0;
    vault.backup(&scratch.src());
    vault.cache = None;
    let second = vault.backup(&scratch.src());
    assert_eq!(second.finished.counts.read_bytes, 300_000);
}

#[test]
fn a_writer_state_that_cannot_be_understood_is_as_good_as_none() {
    let scratch = Scratch::new("odd-state");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    vault.writer_state = vec![b"from a later release".to_vec()];
    let outcome = vault.backup(&scratch.src());
    assert!(vault.files(outcome.root(), &scratch.src()) == on_disk(&scratch.src()));
    assert!(outcome.finished.state.is_some_and(|(_, base)| base));
}

#[test]
fn an_audit_of_pages_asks_what_they_hold_and_not_where() {
    let scratch = Scratch::new("audit-pages");
    let mut content = b"SQLite format 3\0\x10\x00".to_vec();
    content.extend(noise(4, (2 << 20) - content.len()));
    scratch.file("db", &content);
    let mut vault = Vault::new(&scratch);
    later(&mut vault);
    vault.backup(&scratch.src());
    rewrite_pages(&scratch.src().join("db"), &[3, 300], 4096, 9);
    vault.backup(&scratch.src());
    // Without the copy of the groups every group is written anew.
    drop(fs::remove_dir_all(scratch.0.join("state/source.pages")));
    vault.options.paranoid = true;
    let outcome = vault.backup(&scratch.src());
    assert_eq!(outcome.findings, []);
    assert_eq!(outcome.finished.counts.read_bytes, 2 << 20);
}
