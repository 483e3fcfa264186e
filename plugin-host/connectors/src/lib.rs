//! The world outside: RMM, ticketing, mail, webhooks.
