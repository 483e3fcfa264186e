//! Table `machines`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "machines")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub location_id: Uuid,
    pub state: String,
    pub class: String,
    pub hostname: String,
    pub facts: String,
    pub fingerprint: String,
    pub signing_key: Vec<u8>,
    pub sealing_key: Vec<u8>,
    pub meta_sealed: Option<Vec<u8>>,
    pub recorded_in_vault: bool,
    pub incarnation: Uuid,
    pub applied_sequence: i64,
    pub clone_alarm_at: Option<i64>,
    pub desired_version: i64,
    pub auto_apply_excluded: bool,
    pub paused_from: Option<i64>,
    pub paused_until: Option<i64>,
    pub token_id: Option<Uuid>,
    pub enrolled_at: i64,
    pub last_heard_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
