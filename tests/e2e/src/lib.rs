//! The whole system, as a user sees it.
