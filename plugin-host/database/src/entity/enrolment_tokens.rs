//! Table `enrolment_tokens`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "enrolment_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub secret_hash: Vec<u8>,
    pub location_id: Uuid,
    pub plan_id: Option<Uuid>,
    pub backup_monitor: bool,
    pub created_at: i64,
    pub expires_at: i64,
    pub uses_left: i32,
    pub uses_allowed: i32,
    pub revoked_at: Option<i64>,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
