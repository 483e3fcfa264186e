//! When a plan is due: occurrences, the machine's own delay, what runs next, what was missed.
//!
//! Invariant: occurrences are moments in strictly ascending order; each civil time of the expression gives at most one,
//! also when clocks are put back, and none is lost when they are put forward.

mod delay;
mod missed;
mod next;
mod timetable;

pub use delay::{catch_up_delay, start_delay};
pub use missed::{MissedOccurrence, missed_in_a_row, missed_occurrences};
pub use next::{NextAction, RunRecord, StartHistory, clock_was_put_back, next_action, redated};
pub use timetable::{ScheduleError, Timetable};
