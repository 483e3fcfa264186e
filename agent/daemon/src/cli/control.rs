//! The command line's side of local control.

use std::io;
use std::path::PathBuf;

use nightkeep_platform::ipc::{self, Stream};
use nightkeep_wire::control::{
    Answer, ControlError, ControlErrorCode, Event, LINE_BYTES_MAX, Line, Op, Reply, Request,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::runtime::Runtime;

use super::args::Globals;
use super::failure::Failure;
use crate::places::Places;

/// A connection to the daemon.
pub(super) struct Client {
    read: BufReader<ReadHalf<Stream>>,
    write: WriteHalf<Stream>,
    next_id: u64,
    /// Events that came while an answer was awaited.
    early: Vec<Event>,
}

/// A runtime for one conversation.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

impl Client {
    /// Connects to the daemon of this state directory, or to the machine's own service.
    pub(super) async fn connect(globals: &Globals) -> anyhow::Result<Self> {
        let (places, _) = Places::resolve(globals)?;
        let mut candidates = vec![places.control()];
        if globals.state_dir.is_none() {
            candidates.push(Places::control_of_service());
        }
        let mut failure = None;
        for candidate in candidates {
            match ipc::connect(&candidate).await {
                Ok(stream) => {
                    let (read, write) = tokio::io::split(stream);
                    return Ok(Self { read: BufReader::new(read), write, next_id: 1, early: Vec::new() });
                }
                Err(error) => failure = failure.or(Some(not_reached(candidate, &error))),
            }
        }
        Err(failure.unwrap_or_else(|| Failure::new("daemon-not-running", "no daemon to ask")).into())
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&mut self, op: Op) -> anyhow::Result<Reply> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Request { id, op })?;
        line.push(b'\n');
        self.write.write_all(&line).await.map_err(|error| broken(&error))?;
        loop {
            match self.line().await? {
                Line::Response(response) if response.id == id => {
                    return match response.result {
                        Answer::Ok(reply) => Ok(reply),
                        Answer::Error(error) => Err(refused(&error).into()),
                    };
                }
                Line::Response(_) => {}
                Line::Event(event) => self.early.push(event),
            }
        }
    }

    /// The next event of a subscription.
    pub(super) async fn event(&mut self) -> anyhow::Result<Event> {
        if !self.early.is_empty() {
            return Ok(self.early.remove(0));
        }
        loop {
            if let Line::Event(event) = self.line().await? {
                return Ok(event);
            }
        }
    }

    async fn line(&mut self) -> anyhow::Result<Line> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.read).take(LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line).await.map_err(|error| broken(&error))?;
        if read == 0 {
            return Err(broken(&io::Error::from(io::ErrorKind::UnexpectedEof)).into());
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

fn not_reached(path: PathBuf, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let message = format!("this account may not speak with the daemon at {}", path.display());
        return Failure::new("not-allowed", message).remedy("Run the command as an administrator.");
    }
    Failure::new("daemon-not-running", format!("no daemon answers at {}: {error}", path.display()))
        .remedy("Start it with `nightkeep-agent service start`, or in the foreground with `nightkeep-agent run`.")
}

fn broken(error: &io::Error) -> Failure {
    Failure::new("daemon-gone", format!("the daemon ended the conversation: {error}"))
        .remedy("See its log; what was started is reported after its next start.")
}

fn refused(error: &ControlError) -> Failure {
    let code = match error.code {
        ControlErrorCode::NotAllowed => "not-allowed",
        ControlErrorCode::PlanUnknown => "plan-unknown",
        ControlErrorCode::NoPlan => "no-plan",
        ControlErrorCode::NotEnrolled => "not-enrolled",
        ControlErrorCode::BadRequest => "bad-request",
        ControlErrorCode::PauseNotAllowed => "pause-not-allowed",
        ControlErrorCode::Unavailable => "unavailable",
        ControlErrorCode::Unknown => "refused",
    };
    Failure::new(code, error.message.clone())
}
