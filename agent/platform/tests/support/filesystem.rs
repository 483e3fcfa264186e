//! A filesystem of a test's own: nobody else's changes are in its journal.
#![allow(dead_code, reason = "no test file uses all of it")]

use nightkeep_platform::journal::JournalOptions;
use std::io;
use std::path::Path;
use std::process::Command;

/// A mounted filesystem, gone with its value. Needs root, and says so.
pub(crate) struct Filesystem {
    place: tempfile::TempDir,
    _image: Option<tempfile::NamedTempFile>,
}

impl Filesystem {
    /// In memory.
    pub(crate) fn tmpfs() -> io::Result<Self> {
        let place = tempfile::tempdir()?;
        mount(&["-t", "tmpfs", "nightkeep-test"], place.path())?;
        Ok(Self { place, _image: None })
    }

    /// ext4 in a file of 64 MiB.
    pub(crate) fn ext4() -> io::Result<Self> {
        let (place, image) = (tempfile::tempdir()?, tempfile::NamedTempFile::new()?);
        image.as_file().set_len(64 << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1"]).arg(image.path()))?;
        let source = image.path().to_string_lossy().into_owned();
        mount(&["-o", "loop", source.as_str()], place.path())?;
        Ok(Self { place, _image: Some(image) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        // What cannot be unmounted stays behind, and its folder with it.
        let _ = run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

/// Processes that nobody may look at were there before the test's filesystem and know nothing of it.
pub(crate) fn hidden_processes() -> JournalOptions {
    let hidden = |process: &std::path::PathBuf| {
        let error = std::fs::read(process.join("maps")).err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let names = processes.filter(hidden).filter_map(|process| std::fs::read_to_string(process.join("comm")).ok());
    JournalOptions { overlook: names.map(|name| name.trim_end().to_owned()).collect(), memory: None }
}

/// Mounts something somewhere.
pub(crate) fn mount(what: &[&str], place: &Path) -> io::Result<()> {
    run(Command::new("mount").args(what).arg(place))
}

/// Runs a command of the system.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    let failed = || io::Error::other(format!("{command:?} failed (this test needs root): {words}"));
    if output.status.success() { Ok(()) } else { Err(failed()) }
}
