//! Upload grants, asked for in batches: whoever asks while a question is on its way joins the next one.

use nightkeep_wire::gateway::{GRANTS_PER_REQUEST_MAX, GrantOutcome, GrantRequest, GrantResponse, GrantWish};
use nightkeep_wire::problem::{Problem, ProblemCode};
use reqwest::Method;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::link::{HostLink, LinkError};

/// Wishes that may wait; uploading threads are far fewer.
const QUEUE_MAX: usize = 1024;

type Asked = (GrantWish, oneshot::Sender<Result<GrantOutcome, LinkError>>);

/// Where grants are asked for.
pub(super) struct GrantDesk {
    queue: mpsc::Sender<Asked>,
}

impl GrantDesk {
    /// Opens the desk; it closes with its last user.
    pub(super) fn open(link: HostLink, runtime: &Handle) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        runtime.spawn(serve(link, waiting));
        Self { queue }
    }

    /// The host's decision on one wish.
    pub(super) async fn ask(&self, wish: GrantWish) -> Result<GrantOutcome, LinkError> {
        let (answer, decided) = oneshot::channel();
        let asked = self.queue.send((wish, answer)).await;
        match decided.await {
            Ok(outcome) if asked.is_ok() => outcome,
            Ok(_) | Err(_) => Err(problem("the storage link is closing")),
        }
    }
}

async fn serve(link: HostLink, mut waiting: mpsc::Receiver<Asked>) {
    let mut batch = Vec::with_capacity(GRANTS_PER_REQUEST_MAX);
    while waiting.recv_many(&mut batch, GRANTS_PER_REQUEST_MAX).await > 0 {
        let (wishes, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let asked = wishes.len();
        let response: Result<GrantResponse, _> =
            link.exchange(Method::POST, "/vault/grants", &GrantRequest { objects: wishes }).await;
        hand_out(response, asked, answers);
    }
}

/// Grants come in the order of the wishes. A failed question fails every one of them, each for its own retry.
fn hand_out(
    response: Result<GrantResponse, LinkError>,
    asked: usize,
    answers: Vec<oneshot::Sender<Result<GrantOutcome, LinkError>>>,
) {
    match response {
        Ok(response) if response.grants.len() == asked => {
            for (grant, answer) in response.grants.into_iter().zip(answers) {
                // Whoever asked may have been stopped meanwhile.
                let _ = answer.send(Ok(grant.outcome));
            }
        }
        Ok(_) => answers.into_iter().for_each(|answer| drop(answer.send(Err(problem("the host left out grants"))))),
        Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(repeat(&error))))),
    }
}

/// The same failure for every asker; causes cannot be cloned, their words can.
fn repeat(error: &LinkError) -> LinkError {
    match error {
        LinkError::Problem { problem } => LinkError::Problem { problem: problem.clone() },
        LinkError::Status { host, request, status } => {
            LinkError::Status { host: host.clone(), request: request.clone(), status: *status }
        }
        LinkError::Untrusted { host, untrusted } => {
            LinkError::Untrusted { host: host.clone(), untrusted: untrusted.clone() }
        }
        LinkError::Unreachable { .. } | LinkError::Answer { .. } | LinkError::Setup { .. } => {
            problem(&error.in_words())
        }
    }
}

fn problem(detail: &str) -> LinkError {
    LinkError::Problem { problem: Box::new(Problem::new(ProblemCode::Unavailable, detail)) }
}
