//! Table `vaults`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "vaults")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub customer_id: Uuid,
    pub root_sealed: Vec<u8>,
    pub public_key: Vec<u8>,
    pub maintenance_key: Vec<u8>,
    pub epoch: i32,
    pub quota_bytes: Option<i64>,
    pub used_bytes: i64,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
