//! Customers, and the RMM's tree of clients and locations.
//!
//! Invariant: a client maps to one customer for good; a location belongs to one client.

use chrono::{DateTime, Utc};
use nightkeep_wire::{ClientId, CustomerId, LocationId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::convert::{from_word, ms, time, word};
use crate::database::Database;
use crate::entity::{clients, customers, locations};
use crate::error::DatabaseError;

/// What a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantKind {
    /// A reseller.
    Partner,
    /// Owns a vault.
    Customer,
    /// Below a customer, whose vault it shares.
    Unit,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// What it is.
    pub kind: TenantKind,
    /// Its parent; the zero id is the service provider itself.
    pub parent: CustomerId,
    /// Its name, unique below its parent.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl Customer {
    /// The service provider itself, parent of what has no other.
    pub const PROVIDER: CustomerId = CustomerId::from_uuid(Uuid::nil());
}

/// A client of the RMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Whose it is.
    pub customer: CustomerId,
    /// Its name.
    pub name: String,
    /// Whether the default plan is applied to its machines automatically.
    pub auto_apply: bool,
}

/// A location of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its id.
    pub id: LocationId,
    /// Its client.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// Whether the default plan is applied to its machines automatically.
    pub auto_apply: bool,
}

/// Where a machine stands, from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The customer.
    pub customer: Customer,
    /// The client.
    pub client: Client,
    /// The location.
    pub location: Location,
}

impl Place {
    /// The switch of either level counts.
    pub fn auto_apply(&self) -> bool {
        self.client.auto_apply || self.location.auto_apply
    }
}

impl Database {
    /// Creates a customer unless its parent has one of that name, and answers with the one that is there.
    pub async fn ensure_customer(&self, wish: Customer) -> Result<Customer, DatabaseError> {
        let row = customers::Model {
            id: wish.id.as_uuid(),
            kind: word(&wish.kind),
            parent_id: wish.parent.as_uuid(),
            name: wish.name.clone(),
            created_at: ms(wish.created_at),
        };
        let unless =
            OnConflict::columns([customers::Column::ParentId, customers::Column::Name]).do_nothing().to_owned();
        let insert = customers::Entity::insert(row.into_active_model()).on_conflict(unless);
        insert.exec_without_returning(&self.connection).await?;
        let found = customers::Entity::find()
            .filter(customers::Column::ParentId.eq(wish.parent.as_uuid()))
            .filter(customers::Column::Name.eq(wish.name))
            .one(&self.connection)
            .await?;
        found.map_or(Err(gone("customers")), Customer::try_from)
    }

    /// A customer by id.
    pub async fn customer(&self, id: CustomerId) -> Result<Option<Customer>, DatabaseError> {
        let found = customers::Entity::find_by_id(id.as_uuid()).one(&self.connection).await?;
        found.map(Customer::try_from).transpose()
    }

    /// All customers of that name, wherever they stand.
    pub async fn customers_named(&self, name: &str) -> Result<Vec<Customer>, DatabaseError> {
        let find = customers::Entity::find().filter(customers::Column::Name.eq(name));
        find.all(&self.connection).await?.into_iter().map(Customer::try_from).collect()
    }

    /// All customers by name.
    pub async fn customers(&self) -> Result<Vec<Customer>, DatabaseError> {
        let find = customers::Entity::find().order_by_asc(customers::Column::Name);
        find.all(&self.connection).await?.into_iter().map(Customer::try_from).collect()
    }

    /// Creates a client unless there is one of that name, and answers with the one that is there: the caller checks
    /// whose it is.
    pub async fn ensure_client(&self, wish: Client, now: DateTime<Utc>) -> Result<Client, DatabaseError> {
        let row = clients::Model {
            id: wish.id.as_uuid(),
            customer_id: wish.customer.as_uuid(),
            name: wish.name.clone(),
            auto_apply: wish.auto_apply,
            created_at: ms(now),
        };
        let unless = OnConflict::column(clients::Column::Name).do_nothing().to_owned();
        let insert = clients::Entity::insert(row.into_active_model()).on_conflict(unless);
        insert.exec_without_returning(&self.connection).await?;
        self.client_named(&wish.name).await?.ok_or_else(|| gone("clients"))
    }

    /// A client by name.
    pub async fn client_named(&self, name: &str) -> Result<Option<Client>, DatabaseError> {
        let find = clients::Entity::find().filter(clients::Column::Name.eq(name));
        Ok(find.one(&self.connection).await?.map(Client::from))
    }

    /// All clients by name, those of one customer or of all.
    pub async fn clients(&self, of: Option<CustomerId>) -> Result<Vec<Client>, DatabaseError> {
        let mut find = clients::Entity::find().order_by_asc(clients::Column::Name);
        if let Some(customer) = of {
            find = find.filter(clients::Column::CustomerId.eq(customer.as_uuid()));
        }
        Ok(find.all(&self.connection).await?.into_iter().map(Client::from).collect())
    }

    /// Creates a location unless the client has one of that name, and answers with the one that is there.
    pub async fn ensure_location(&self, wish: Location, now: DateTime<Utc>) -> Result<Location, DatabaseError> {
        let row = locations::Model {
            id: wish.id.as_uuid(),
            client_id: wish.client.as_uuid(),
            name: wish.name.clone(),
            auto_apply: wish.auto_apply,
            created_at: ms(now),
        };
        let unless =
            OnConflict::columns([locations::Column::ClientId, locations::Column::Name]).do_nothing().to_owned();
        let insert = locations::Entity::insert(row.into_active_model()).on_conflict(unless);
        insert.exec_without_returning(&self.connection).await?;
        let found = locations::Entity::find()
            .filter(locations::Column::ClientId.eq(wish.client.as_uuid()))
            .filter(locations::Column::Name.eq(wish.name))
            .one(&self.connection)
            .await?;
        found.map(Location::from).ok_or_else(|| gone("locations"))
    }

    /// The locations of all clients or of one, by name.
    pub async fn locations(&self, of: Option<ClientId>) -> Result<Vec<Location>, DatabaseError> {
        let mut find = locations::Entity::find().order_by_asc(locations::Column::Name);
        if let Some(client) = of {
            find = find.filter(locations::Column::ClientId.eq(client.as_uuid()));
        }
        Ok(find.all(&self.connection).await?.into_iter().map(Location::from).collect())
    }

    /// Switches automatic application for a client; whether there is such a client.
    pub async fn set_client_auto_apply(&self, client: ClientId, on: bool) -> Result<bool, DatabaseError> {
        let update = clients::Entity::update_many()
            .col_expr(clients::Column::AutoApply, Expr::value(on))
            .filter(clients::Column::Id.eq(client.as_uuid()));
        Ok(update.exec(&self.connection).await?.rows_affected > 0)
    }

    /// Switches automatic application for a location; whether there is such a location.
    pub async fn set_location_auto_apply(&self, location: LocationId, on: bool) -> Result<bool, DatabaseError> {
        let update = locations::Entity::update_many()
            .col_expr(locations::Column::AutoApply, Expr::value(on))
            .filter(locations::Column::Id.eq(location.as_uuid()));
        Ok(update.exec(&self.connection).await?.rows_affected > 0)
    }

    /// A location and what is above it.
    pub async fn place(&self, location: LocationId) -> Result<Option<Place>, DatabaseError> {
        place(&self.connection, location.as_uuid()).await
    }
}

pub(crate) async fn place<C: ConnectionTrait>(connection: &C, location: Uuid) -> Result<Option<Place>, DatabaseError> {
    let Some(location) = locations::Entity::find_by_id(location).one(connection).await? else { return Ok(None) };
    let Some(client) = clients::Entity::find_by_id(location.client_id).one(connection).await? else { return Ok(None) };
    let customer = customers::Entity::find_by_id(client.customer_id).one(connection).await?;
    let Some(customer) = customer else { return Ok(None) };
    Ok(Some(Place { customer: customer.try_into()?, client: client.into(), location: location.into() }))
}

/// A row that was there a moment ago: nothing deletes it, so somebody changed the database by hand.
fn gone(table: &'static str) -> DatabaseError {
    DatabaseError::Unreadable { table, id: "row".to_owned(), what: "value that vanished while it was written" }
}

impl TryFrom<customers::Model> for Customer {
    type Error = DatabaseError;

    fn try_from(row: customers::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.id.into(),
            kind: from_word("customers", row.id, "kind", &row.kind)?,
            parent: row.parent_id.into(),
            name: row.name,
            created_at: time(row.created_at),
        })
    }
}

impl From<clients::Model> for Client {
    fn from(row: clients::Model) -> Self {
        Self { id: row.id.into(), customer: row.customer_id.into(), name: row.name, auto_apply: row.auto_apply }
    }
}

impl From<locations::Model> for Location {
    fn from(row: locations::Model) -> Self {
        Self { id: row.id.into(), client: row.client_id.into(), name: row.name, auto_apply: row.auto_apply }
    }
}
