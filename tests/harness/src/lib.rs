//! Starts real agents and hosts for tests.
