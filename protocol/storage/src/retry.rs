//! Tries a request until it succeeds, is refused for good, or has used up its time.
//!
//! **Invariant**: only requests that may be repeated come here (FORMAT.md I1: objects are created or read, never
//! changed), and each try is made, signed and timed anew.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::failure::{Verdict, judge, said};
use crate::options::StorageOptions;

/// Doublings after which the pause's bound no longer grows, whatever its longest is.
const DOUBLINGS_MAX: u32 = 20;

/// A call that ended without success.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the last try meant.
    pub(crate) verdict: Verdict,
    /// Whether a try before the last may have done the work although it failed.
    pub(crate) perhaps_done: bool,
    /// How often, how long, and the last error.
    pub(crate) cause: GaveUp,
}

/// Why a call was given up.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {tries} {} in {} s: {last}", if *.tries == 1 { "try" } else { "tries" }, .after.as_secs())]
pub(crate) struct GaveUp {
    tries: u32,
    after: Duration,
    last: LastError,
}

/// The last try's error, with its causes in one line: the layers between repeat each other.
#[derive(Debug)]
struct LastError(String);

impl fmt::Display for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tries until `make` succeeds or its failure cannot be healed by time. `operation` and `name` are for the log.
pub(crate) async fn until_done<T, E, F>(
    options: &StorageOptions,
    operation: &'static str,
    name: &str,
    mut make: impl FnMut() -> F,
) -> Result<(T, bool), Ended>
where
    E: StdError + 'static,
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    let (mut tries, mut perhaps_done, mut hung_after) = (0, false, options.hung_after);
    loop {
        tries += 1;
        let attempt = Arc::new(Attempt::default());
        let error = match attempt.run(hung_after, async { make().await }).await {
            Some(Ok(done)) => return Ok((done, perhaps_done)),
            Some(Err(error)) => Some(error),
            None => None,
        };
        // A request that hung has no answer, whatever an earlier request of the same try was told.
        let answer = attempt.answer().filter(|_| error.is_some());
        let verdict = match &error {
            Some(error) if answer.is_none() && is_distrust(error) => Verdict::Refused(distrust(error)),
            Some(_) | None => judge(answer.as_ref()),
        };
        let last = LastError(match (&answer, &error) {
            (Some(answer), _) if !(200..300).contains(&answer.status) => said(answer),
            (_, Some(error)) => in_one_line(error),
            (_, None) => format!("it moved next to nothing for {} s", hung_after.as_secs()),
        });
        if error.is_none() {
            // Behind a proxy that takes a body fast and passes it on slowly, patience must grow, or it never gets through.
            hung_after *= 2;
        }
        let pause = pause(options, tries);
        if verdict != Verdict::Again || begun.elapsed() + pause > options.retry_for {
            let cause = GaveUp { tries, after: begun.elapsed(), last };
            return Err(Ended { verdict, perhaps_done, cause });
        }
        tracing::warn!(operation, name, tries, reason = %last, pause = ?pause, "Storage failed; trying again");
        perhaps_done = true;
        tokio::time::sleep(pause).await;
    }
}

/// Full jitter: anything from nothing to a bound that doubles, so that many machines do not come back at one moment.
fn pause(options: &StorageOptions, tries: u32) -> Duration {
    let doubled = options.pause_first.saturating_mul(1 << tries.saturating_sub(1).min(DOUBLINGS_MAX));
    let bound = doubled.min(options.pause_max);
    // Without the system's randomness the longest pause is as good as any.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// A certificate nobody vouches for stays so; trying for a quarter of an hour would hide it.
fn is_distrust(error: &(dyn StdError + 'static)) -> bool {
    in_one_line(error).contains("invalid peer certificate")
}

fn distrust(error: &(dyn StdError + 'static)) -> String {
    let remedy = "check the endpoint's name and date, or have this machine trust the storage's certificate authority";
    format!("its certificate is not trusted ({}); {remedy}", in_one_line(error))
}

/// An error with its causes, each once.
fn in_one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot start threads has failed")]
    use super::*;
    use crate::attempt::Answer;
    use std::cell::Cell;

    fn quick() -> StorageOptions {
        let milliseconds = Duration::from_millis;
        StorageOptions { pause_first: milliseconds(1), pause_max: milliseconds(4), ..StorageOptions::default() }
    }

    fn answered(status: u16) -> std::io::Error {
        Attempt::current().answered(Answer { status, code: None, message: None });
        std::io::Error::other("refused")
    }

    fn run(options: &StorageOptions, statuses: &[u16]) -> (Result<(usize, bool), Ended>, usize) {
        let tries = Cell::new(0);
        let make = || {
            let n = tries.get();
            tries.set(n + 1);
            async move { statuses.get(n).map_or(Ok(n), |status| Err(answered(*status))) }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (runtime.block_on(until_done(options, "read", "p/x", make)), tries.get())
    }

    #[test]
    fn passing_trouble_is_waited_out_and_the_caller_learns_of_it() {
        let (result, tries) = run(&quick(), &[503, 429, 500]);
        assert_eq!((result.unwrap(), tries), ((3, true), 4));
        let (result, _) = run(&quick(), &[]);
        assert_eq!(result.unwrap(), (0, false));
    }

    #[test]
    fn a_refusal_is_told_at_once() {
        let (result, tries) = run(&quick(), &[403, 200]);
        assert!(matches!(result.unwrap_err().verdict, Verdict::Refused(_)));
        assert_eq!(tries, 1);
    }

    #[test]
    fn patience_ends() {
        let options = StorageOptions { retry_for: Duration::ZERO, pause_first: Duration::from_secs(9), ..quick() };
        let options = StorageOptions { pause_max: Duration::from_secs(9), ..options };
        let (result, tries) = run(&options, &[503; 100]);
        let ended = result.unwrap_err();
        assert_eq!((ended.verdict, tries), (Verdict::Again, 1));
        assert_eq!(ended.cause.to_string(), "gave up after 1 try in 0 s: it answered 503");
    }

    #[test]
    fn pauses_are_bounded_and_differ() {
        let options = StorageOptions::default();
        let pauses: Vec<Duration> = (0..100).map(|_| pause(&options, 3)).collect();
        assert!(pauses.iter().all(|pause| *pause <= options.pause_first * 4));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        assert!(pause(&options, u32::MAX) <= options.pause_max);
    }
}
