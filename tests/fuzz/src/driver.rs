//! Feeds a target with its seeds and with changes of them, for a time or a number of rounds.

use crate::Target;
use crate::mutate::{Dice, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How many inputs that came from changes are kept to be changed again.
const KEPT_MAX: usize = 256;

/// When to end.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// After this long.
    Time(Duration),
    /// After so many inputs.
    Inputs(u64),
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Run {
    /// Inputs checked.
    pub inputs: u64,
    /// The input that made the check panic, and what it said.
    pub failure: Option<(Vec<u8>, String)>,
}

/// Runs a target. The same seed, corpus and number of inputs meet the same inputs.
pub fn run(target: &Target, corpus: &[Vec<u8>], seed: u64, limit: Limit) -> Run {
    let begin = Instant::now();
    let mut dice = Dice(seed);
    let mut pool = corpus.to_vec();
    pool.push(Vec::new());
    let mut inputs = 0;
    for input in pool.clone() {
        inputs += 1;
        if let Some(failure) = failure_of(target, &input) {
            return Run { inputs, failure: Some((input, failure)) };
        }
    }
    loop {
        let is_over = match limit {
            Limit::Time(time) => inputs % 64 == 0 && begin.elapsed() >= time,
            Limit::Inputs(count) => inputs >= count,
        };
        if is_over {
            return Run { inputs, failure: None };
        }
        inputs += 1;
        let mut input = pool[dice.below(pool.len())].clone();
        let other = pool[dice.below(pool.len())].clone();
        mutate(&mut input, &other, &mut dice);
        if let Some(mend) = target.mend.filter(|_| dice.below(8) != 0) {
            mend(&mut input);
        }
        if let Some(failure) = failure_of(target, &input) {
            return Run { inputs, failure: Some((input, failure)) };
        }
        keep(&mut pool, corpus.len(), input, &mut dice);
    }
}

/// Now and then a changed input takes the place of an older one, so that changes add up.
fn keep(pool: &mut Vec<Vec<u8>>, fixed: usize, input: Vec<u8>, dice: &mut Dice) {
    if dice.below(16) != 0 {
        return;
    }
    if pool.len() < fixed + KEPT_MAX {
        pool.push(input);
    } else {
        let at = fixed + dice.below(KEPT_MAX);
        pool[at] = input;
    }
}

fn failure_of(target: &Target, input: &[u8]) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| (target.check)(input))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}
