//! Mounting and unmounting: the kernel's side of it.
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fuser::{BackgroundSession, Config, Filesystem, MountOption, Session, SessionACL};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// Threads that answer the kernel: some wait for a store while others go on.
const THREADS: usize = 8;

/// How a file system is mounted.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Nothing can be written.
    pub read_only: bool,
    /// Others than who mounts may enter, as far as permissions let them.
    pub allow_other: bool,
}

/// A mounted file system, until it is unmounted.
pub struct Mounted {
    place: PathBuf,
    session: BackgroundSession,
}

impl Mounted {
    /// Mounts a file system and answers for it in threads of its own.
    pub fn mount(fs: impl Filesystem, place: &Path, options: Options) -> io::Result<Self> {
        let place = place.canonicalize()?;
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("holdfast".into()),
            MountOption::Subtype("holdfast".into()),
            MountOption::DefaultPermissions,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoAtime,
        ];
        config.mount_options.push(if options.read_only {
            MountOption::RO
        } else {
            MountOption::RW
        });
        config.acl = if options.allow_other {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        config.n_threads = Some(THREADS);
        config.clone_fd = true;
        let session = Session::new(fs, &place, &config)?.spawn()?;
        Ok(Self { place, session })
    }

    /// Whether it was unmounted, by whomever.
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Asks the kernel to unmount. `EBUSY` while something is open, unless `lazily`: then it goes when the last is closed.
    pub fn unmount(&self, lazily: bool) -> io::Result<()> {
        unmount(&self.place, lazily)
    }

    /// Waits for the end of an unmounted file system.
    pub fn join(self) -> io::Result<()> {
        self.session.join()
    }
}

/// Unmounts what is mounted at a place. Who is not root goes through `fusermount3`.
pub fn unmount(place: &Path, lazily: bool) -> io::Result<()> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazily);
    match rustix::mount::unmount(place, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let mut command = Command::new("fusermount3");
            command.arg("-u").args(lazily.then_some("-z")).arg("--");
            let done = command
                .arg(place)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if done.success() {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(Errno::BUSY.raw_os_error()))
            }
        }
        Err(errno) => Err(errno.into()),
    }
}
