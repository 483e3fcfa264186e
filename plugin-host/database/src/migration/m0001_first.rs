//! The first schema: tenants and the RMM's tree, machines, accounts, plans, reports, vaults, audit.
//!
//! Times are milliseconds since 1970, UTC: they sort and compare alike in both databases. Documents are JSON text.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Step;

#[async_trait::async_trait]
impl MigrationTrait for Step {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statements in [TENANTS, MACHINES, ACCOUNTS, PLANS, REPORTS, VAULTS] {
            super::run(manager, statements).await?;
        }
        Ok(())
    }
}

const TENANTS: &[&str] = &[
    // The service provider itself is the tenant of the zero id; everything else has a parent.
    "CREATE TABLE customers (
        id {uuid} PRIMARY KEY, kind TEXT NOT NULL, parent_id {uuid} NOT NULL, name TEXT NOT NULL,
        created_at BIGINT NOT NULL, UNIQUE (parent_id, name))",
    "CREATE TABLE clients (
        id {uuid} PRIMARY KEY, customer_id {uuid} NOT NULL REFERENCES customers (id), name TEXT NOT NULL UNIQUE,
        auto_apply BOOLEAN NOT NULL, created_at BIGINT NOT NULL)",
    "CREATE TABLE locations (
        id {uuid} PRIMARY KEY, client_id {uuid} NOT NULL REFERENCES clients (id), name TEXT NOT NULL,
        auto_apply BOOLEAN NOT NULL, created_at BIGINT NOT NULL, UNIQUE (client_id, name))",
    "CREATE TABLE enrolment_tokens (
        id {uuid} PRIMARY KEY, secret_hash {bytes} NOT NULL UNIQUE, location_id {uuid} NOT NULL REFERENCES locations (id),
        plan_id {uuid}, backup_monitor BOOLEAN NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
        uses_left INTEGER NOT NULL, uses_allowed INTEGER NOT NULL, revoked_at BIGINT, created_by TEXT NOT NULL)",
];

const MACHINES: &[&str] = &[
    "CREATE TABLE machines (
        id {uuid} PRIMARY KEY, location_id {uuid} NOT NULL REFERENCES locations (id), state TEXT NOT NULL,
        class TEXT NOT NULL, hostname TEXT NOT NULL, facts TEXT NOT NULL, fingerprint TEXT NOT NULL,
        signing_key {bytes} NOT NULL, sealing_key {bytes} NOT NULL, meta_sealed {bytes}, recorded_in_vault BOOLEAN NOT NULL,
        incarnation {uuid} NOT NULL, applied_sequence BIGINT NOT NULL, clone_alarm_at BIGINT,
        desired_version BIGINT NOT NULL, auto_apply_excluded BOOLEAN NOT NULL, paused_from BIGINT, paused_until BIGINT,
        token_id {uuid}, enrolled_at BIGINT NOT NULL, last_heard_at BIGINT NOT NULL)",
    "CREATE INDEX machines_by_location ON machines (location_id)",
    "CREATE INDEX machines_by_signing_key ON machines (signing_key)",
    // Stretches in which the machine was heard without a longer gap: laptops are judged by the time they were on.
    "CREATE TABLE machine_online (
        machine_id {uuid} NOT NULL REFERENCES machines (id), from_at BIGINT NOT NULL, until_at BIGINT NOT NULL,
        PRIMARY KEY (machine_id, from_at))",
    "CREATE TABLE machine_status (
        machine_id {uuid} PRIMARY KEY REFERENCES machines (id), bucket TEXT NOT NULL, rank INTEGER NOT NULL,
        reason TEXT NOT NULL, last_backup_at BIGINT, last_point_at BIGINT, next_backup_at BIGINT,
        missed INTEGER NOT NULL, document TEXT NOT NULL, computed_at BIGINT NOT NULL)",
    "CREATE INDEX machine_status_by_rank ON machine_status (rank)",
];

const ACCOUNTS: &[&str] = &[
    "CREATE TABLE users (
        id {uuid} PRIMARY KEY, name TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL, role TEXT NOT NULL,
        customer_id {uuid}, must_change BOOLEAN NOT NULL, created_at BIGINT NOT NULL)",
    "CREATE TABLE sessions (
        token_hash {bytes} PRIMARY KEY, user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        kind TEXT NOT NULL, label TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL)",
    "CREATE INDEX sessions_by_user ON sessions (user_id)",
    "CREATE TABLE audit_log (
        id {uuid} PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL)",
    "CREATE INDEX audit_log_by_time ON audit_log (at)",
];

const PLANS: &[&str] = &[
    // A plan without a customer serves all clients.
    "CREATE TABLE plans (
        id {uuid} PRIMARY KEY, customer_id {uuid} REFERENCES customers (id), name TEXT NOT NULL, revision BIGINT NOT NULL,
        body TEXT NOT NULL, is_default BOOLEAN NOT NULL, created_at BIGINT NOT NULL, edited_at BIGINT NOT NULL)",
    "CREATE TABLE plan_applications (
        machine_id {uuid} NOT NULL REFERENCES machines (id), plan_id {uuid} NOT NULL REFERENCES plans (id),
        cause TEXT NOT NULL, applied_by TEXT NOT NULL, applied_at BIGINT NOT NULL, PRIMARY KEY (machine_id, plan_id))",
    "CREATE TABLE commands (
        id {uuid} PRIMARY KEY, machine_id {uuid} NOT NULL REFERENCES machines (id), action TEXT NOT NULL,
        issued_by TEXT NOT NULL, issued_at BIGINT NOT NULL, expires_at BIGINT, done_at BIGINT, outcome TEXT, message TEXT)",
    "CREATE INDEX commands_by_machine ON commands (machine_id, done_at)",
];

const REPORTS: &[&str] = &[
    "CREATE TABLE reports (
        machine_id {uuid} NOT NULL REFERENCES machines (id), incarnation {uuid} NOT NULL, sequence BIGINT NOT NULL,
        hash {bytes} NOT NULL, kind TEXT NOT NULL, happened_at BIGINT NOT NULL, received_at BIGINT NOT NULL,
        body TEXT NOT NULL, PRIMARY KEY (machine_id, incarnation, sequence))",
    "CREATE TABLE jobs (
        id {uuid} PRIMARY KEY, machine_id {uuid} NOT NULL REFERENCES machines (id), plan_id {uuid}, kind TEXT NOT NULL,
        cause TEXT NOT NULL, occurrence_at BIGINT, started_at BIGINT NOT NULL, finished_at BIGINT, outcome TEXT,
        recovery_point TEXT, backup_set TEXT, error TEXT, finding_count BIGINT NOT NULL, result TEXT)",
    "CREATE INDEX jobs_by_machine ON jobs (machine_id, started_at)",
    "CREATE INDEX jobs_by_outcome ON jobs (machine_id, outcome, started_at)",
    "CREATE TABLE job_progress (
        job_id {uuid} PRIMARY KEY, machine_id {uuid} NOT NULL REFERENCES machines (id), at BIGINT NOT NULL,
        document TEXT NOT NULL)",
    "CREATE INDEX job_progress_by_machine ON job_progress (machine_id)",
    "CREATE TABLE missed_backups (
        machine_id {uuid} NOT NULL REFERENCES machines (id), plan_id {uuid} NOT NULL, occurrence_at BIGINT NOT NULL,
        reason TEXT NOT NULL, online_seconds BIGINT NOT NULL, PRIMARY KEY (machine_id, plan_id, occurrence_at))",
    "CREATE TABLE plan_states (
        machine_id {uuid} NOT NULL REFERENCES machines (id), plan_id {uuid} NOT NULL, revision BIGINT NOT NULL,
        accepted BOOLEAN NOT NULL, message TEXT, next_start_at BIGINT, PRIMARY KEY (machine_id, plan_id))",
];

const VAULTS: &[&str] = &[
    "CREATE TABLE vaults (
        id {bytes} PRIMARY KEY, customer_id {uuid} NOT NULL UNIQUE REFERENCES customers (id), root_sealed {bytes} NOT NULL,
        public_key {bytes} NOT NULL, maintenance_key {bytes} NOT NULL, epoch INTEGER NOT NULL, quota_bytes BIGINT,
        used_bytes BIGINT NOT NULL, created_at BIGINT NOT NULL)",
    "CREATE TABLE storage_grants (
        token_hash {bytes} PRIMARY KEY, vault_id {bytes} NOT NULL REFERENCES vaults (id), machine_id {uuid} NOT NULL,
        object_name TEXT NOT NULL, bytes BIGINT NOT NULL, hash {bytes} NOT NULL, expires_at BIGINT NOT NULL)",
    "CREATE INDEX storage_grants_by_vault ON storage_grants (vault_id, expires_at)",
];
