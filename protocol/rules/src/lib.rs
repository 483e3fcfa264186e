//! What agent and host decide alike: status, schedule, backup sets, retention.
