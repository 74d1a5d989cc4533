//! Proved: an object appears whole or not at all, an existing name is never touched, no temporary stays behind.
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

struct Folder(PathBuf);

impl Folder {
    fn new(tag: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("holdfast-{tag}-{:?}", temporary_name().unwrap()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Refuse(u64, std::cell::Cell<u64>);

impl Rate for Refuse {
    fn spend(&self, bytes: u64) -> Result<(), Error> {
        self.1.set(self.1.get() + bytes);
        if self.1.get() > self.0 {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }
}

#[test]
fn writes_whole_objects_of_any_size() {
    let folder = Folder::new("sizes");
    for size in [
        0,
        1,
        WRITE_STEP_BYTES,
        WRITE_STEP_BYTES + 1,
        2 * WRITEBACK_BYTES + 7,
    ] {
        let data: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let path = folder.0.join(format!("deep/er/{size}"));
        put_file(&path, &data, &Unlimited).unwrap();
        assert_eq!(fs::read(&path).unwrap(), data);
    }
    assert_eq!(fs::read_dir(folder.0.join("deep/er")).unwrap().count(), 5);
}

#[test]
fn an_existing_name_is_left_alone() {
    let folder = Folder::new("exists");
    let path = folder.0.join("vault");
    put_file(&path, b"first", &Unlimited).unwrap();
    assert!(matches!(
        put_file(&path, b"second", &Unlimited),
        Err(Error::Exists)
    ));
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(folder.names(), ["vault"]);
}

#[test]
fn a_dangling_symlink_counts_as_existing() {
    let folder = Folder::new("dangling");
    std::os::unix::fs::symlink("/nonexistent/elsewhere", folder.0.join("name")).unwrap();
    assert!(matches!(
        put_file(&folder.0.join("name"), b"x", &Unlimited),
        Err(Error::Exists)
    ));
}

#[test]
fn stopping_leaves_nothing() {
    let folder = Folder::new("stop");
    let rate = Refuse(3 << 20, std::cell::Cell::new(0));
    let stopped = put_file(&folder.0.join("x"), &vec![1; 5 << 20], &rate);
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert!(folder.names().is_empty());
}

#[test]
fn the_system_errno_is_kept() {
    let folder = Folder::new("errno");
    fs::write(folder.0.join("file"), b"").unwrap();
    let refused = put_file(&folder.0.join("file/x"), b"", &Unlimited);
    assert!(
        matches!(refused, Err(Error::Io { errno, .. }) if errno == Errno::NOTDIR.raw_os_error())
    );
    let full = put_file(Path::new("/dev/full/x"), b"", &Unlimited);
    assert!(matches!(full, Err(Error::Io { .. })));
    assert!(matches!(
        put_file(Path::new("/"), b"", &Unlimited),
        Err(Error::Io { .. })
    ));
}

#[test]
fn files_are_as_readable_as_their_folder() {
    let folder = Folder::new("mode");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
    put_file(&folder.0.join("x"), b"", &Unlimited).unwrap();
    let mode = fs::metadata(folder.0.join("x"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_ways_without_links_keep_an_existing_name() {
    let folder = Folder::new("nolink");
    let open = open_or_create_folder(&folder.0).unwrap();
    write_new(&open, OsStr::new("tmp"), b"data", &Unlimited).unwrap();
    publish_without_links(
        &open,
        OsStr::new("tmp"),
        OsStr::new("name"),
        b"data",
        &Unlimited,
    )
    .unwrap();
    assert_eq!(folder.names(), ["name"]);
    write_new(&open, OsStr::new("tmp"), b"other", &Unlimited).unwrap();
    let exists = publish_without_links(
        &open,
        OsStr::new("tmp"),
        OsStr::new("name"),
        b"other",
        &Unlimited,
    );
    assert!(matches!(exists, Err(Error::Exists)));
    let exists = create_in_place(&open, OsStr::new("name"), b"other", &Unlimited);
    assert!(matches!(exists, Err(Error::Exists)));
    assert_eq!(fs::read(folder.0.join("name")).unwrap(), b"data");
    let rate = Refuse(1 << 20, std::cell::Cell::new(0));
    assert!(create_in_place(&open, OsStr::new("torn"), &vec![0; 2 << 20], &rate).is_err());
    assert_eq!(folder.names(), ["name", "tmp"]);
}
