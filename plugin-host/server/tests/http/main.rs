//! The host at its HTTP boundary: a real client, over TLS, against a host in this process or as a program of its own.

mod agent;
mod console;
mod crash;
mod enrolment;
mod gateway;
mod keeping;
mod reports;
mod requests;
mod scan;
mod station;
mod support;
mod thief;
