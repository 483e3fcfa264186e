//! macOS: nothing yet.

use std::io;
use std::marker::PhantomData;

use tokio::sync::mpsc;

use super::{Answer, Look};
use crate::Unsupported;

pub(super) fn edges() -> Vec<u32> {
    Vec::new()
}

#[derive(Debug)]
pub(super) struct Tray<A: Answer>(PhantomData<A>);

#[expect(clippy::unused_async, reason = "other systems wait for their desktop here")]
impl<A: Answer> Tray<A> {
    pub(super) async fn open(_name: &'static str, _look: Look<A>, _clicks: mpsc::Sender<A>) -> io::Result<Self> {
        Err(Unsupported { what: "a sign in the tray" }.into())
    }

    pub(super) async fn show(&self, _look: Look<A>) -> bool {
        false
    }

    pub(super) async fn close(self) {}
}
