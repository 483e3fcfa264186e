//! The agent: plans, schedule, jobs, outbox, host link, local control, command line.

fn main() {}
