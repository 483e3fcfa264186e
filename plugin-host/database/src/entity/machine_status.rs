//! Table `machine_status`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "machine_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub machine_id: Uuid,
    pub bucket: String,
    pub rank: i32,
    pub reason: String,
    pub last_backup_at: Option<i64>,
    pub last_point_at: Option<i64>,
    pub next_backup_at: Option<i64>,
    pub missed: i32,
    pub document: String,
    pub computed_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
