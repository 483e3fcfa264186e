//! Windows: a job object.
#![expect(unsafe_code, reason = "the standard library knows no job objects")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use std::ptr::null;

use windows_sys::Win32::System::JobObjects::{AssignProcessToJobObject, CreateJobObjectW, TerminateJobObject};
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

use crate::nt;

/// What is handed down: without the first, hardly a program starts.
pub(super) const ENVIRONMENT: &[&str] = &[
    "SystemRoot",
    "SystemDrive",
    "windir",
    "ComSpec",
    "PATH",
    "PATHEXT",
    "TEMP",
    "TMP",
    "ProgramData",
    "ProgramFiles",
];

pub(super) fn settle(command: &mut Command) {
    command.current_dir(std::env::temp_dir());
}

#[derive(Debug)]
pub(super) struct Bond(OwnedHandle);

pub(super) fn start(command: &mut Command) -> io::Result<(Child, Bond)> {
    // SAFETY: no name and no attributes; a handle that comes back is new.
    let job = unsafe {
        let job = CreateJobObjectW(null(), null());
        nt::check_bool(i32::from(!job.is_null()))?;
        OwnedHandle::from_raw_handle(job)
    };
    let mut child = command.creation_flags(CREATE_NO_WINDOW).spawn()?;
    // SAFETY: both handles are open.
    let joined = nt::check_bool(unsafe { AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) });
    // One that has ended already joins nothing any more.
    if let Err(error) = joined
        && child.try_wait()?.is_none()
    {
        let _ = child.kill();
        return Err(error);
    }
    Ok((child, Bond(job)))
}

impl Bond {
    pub(super) fn end(&self, _child: &mut Child) -> io::Result<()> {
        // SAFETY: the handle is open.
        nt::check_bool(unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) })
    }
}

pub(super) fn shell(line: &str) -> Command {
    let mut command = Command::new("cmd.exe");
    // `cmd` has quoting rules of its own, which the line was written for.
    command.args(["/d", "/s", "/c"]).raw_arg(format!("\"{line}\""));
    command
}
