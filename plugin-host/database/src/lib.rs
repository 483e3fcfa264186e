//! The host's database: SQLite or PostgreSQL.
