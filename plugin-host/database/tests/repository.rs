//! Enrolment, plans, storage and the list, at the boundary of the crate.

mod support;

use nightkeep_database::{
    EnrolError, ListFilter, ListSort, NewCommand, NewGrant, Reservation, SortKey, StatusRecord, TokenProblem,
    VaultRecord,
};
use nightkeep_wire::VaultId;
use nightkeep_wire::bytes::{SealingPublicKey, SigningPublicKey};
use nightkeep_wire::desired::CommandAction;
use nightkeep_wire::id::ContentHash;
use nightkeep_wire::machine::MachineState;
use nightkeep_wire::plan::Plan;
use nightkeep_wire::status::Bucket;
use support::{World, at, blake, new_machine};
use uuid::Uuid;

#[tokio::test]
async fn the_same_machine_gets_its_own_id_again_and_costs_no_use() -> anyhow::Result<()> {
    let world = World::new().await?;
    let location = world.location().await?;
    let token = world.token(location.id, 1).await?;
    let wish = new_machine("front-desk");
    let first = world.database.enrol(token, wish.clone(), at(1)).await?;
    let again = nightkeep_database::NewMachine { id: Uuid::new_v4().into(), ..wish };
    // Long after the token's end: it is the same machine still.
    let second = world.database.enrol(token, again, at(30 * 24 * 3600)).await?;
    assert_eq!((first.is_new, second.is_new), (true, false));
    assert_eq!(first.machine.id, second.machine.id);
    Ok(())
}

#[tokio::test]
async fn a_token_tells_why_it_opens_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let location = world.location().await?;
    let token = world.token(location.id, 1).await?;
    world.database.enrol(token, new_machine("one"), at(1)).await?;
    let problem = |result: Result<_, EnrolError>| match result {
        Err(EnrolError::Token(problem)) => Some(problem),
        Ok(_) | Err(EnrolError::Database(_)) => None,
    };
    let used = problem(world.database.enrol(token, new_machine("two"), at(2)).await);
    assert_eq!(used, Some(TokenProblem::UsedUp { allowed: 1 }));
    let open = world.token(location.id, 1).await?;
    let late = problem(world.database.enrol(open, new_machine("three"), at(8 * 24 * 3600)).await);
    assert_eq!(late, Some(TokenProblem::Expired { at: at(7 * 24 * 3600) }));
    let unknown = problem(world.database.enrol(*blake(b"nobody's"), new_machine("four"), at(2)).await);
    assert_eq!(unknown, Some(TokenProblem::Unknown));
    Ok(())
}

#[tokio::test]
async fn a_copied_identity_waits_in_the_lobby() -> anyhow::Result<()> {
    let world = World::new().await?;
    let location = world.location().await?;
    let token = world.token(location.id, 5).await?;
    let original = new_machine("front-desk");
    world.database.enrol(token, original.clone(), at(1)).await?;
    let mut copy = nightkeep_database::NewMachine { id: Uuid::new_v4().into(), ..original };
    copy.facts.hardware_fingerprint = "another board".into();
    let enrolled = world.database.enrol(token, copy, at(2)).await?;
    assert_eq!(enrolled.machine.state, MachineState::Lobby);
    Ok(())
}

#[tokio::test]
async fn a_plan_is_applied_automatically_once_and_not_after_it_was_revoked_for_good() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let plan = Plan::default_plan();
    world.database.ensure_plan(&plan, true, at(0)).await?;
    let second = world.second_host().await?;
    let (one, two) = tokio::join!(
        world.database.apply_automatically(machine.id, plan.id, at(1)),
        second.apply_automatically(machine.id, plan.id, at(1))
    );
    assert_eq!(u8::from(one?) + u8::from(two?), 1);
    let issued = world.database.issued(machine.id).await?.ok_or_else(|| anyhow::anyhow!("no machine"))?;
    assert_eq!((issued.version, issued.plans.len()), (2, 1));
    assert_eq!(issued.plans[0].plan, plan);
    assert!(world.database.revoke_plan(machine.id, plan.id, true).await?);
    assert!(!world.database.apply_automatically(machine.id, plan.id, at(2)).await?);
    Ok(())
}

#[tokio::test]
async fn a_command_stands_in_the_desired_state_and_raises_its_version() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let action = CommandAction::Start { plan: Plan::DEFAULT_ID };
    let id = Uuid::new_v4().into();
    let command =
        NewCommand { id, machine: machine.id, action: action.clone(), issued_by: "admin".into(), expires_at: None };
    world.database.add_command(command, at(5)).await?;
    let issued = world.database.issued(machine.id).await?.ok_or_else(|| anyhow::anyhow!("no machine"))?;
    assert_eq!(issued.version, 2);
    assert_eq!(issued.commands.iter().map(|c| (c.id, c.action.clone())).collect::<Vec<_>>(), [(id, action)]);
    Ok(())
}

#[tokio::test]
async fn grants_never_exceed_the_quota_and_give_back_what_was_not_stored() -> anyhow::Result<()> {
    let world = World::new().await?;
    let machine = world.machine().await?;
    let customer = world.database.customers().await?.remove(0);
    let vault = VaultRecord {
        id: VaultId([7; 16]),
        customer: customer.id,
        root_sealed: vec![1],
        public_key: SealingPublicKey([2; 32]),
        maintenance_key: SigningPublicKey([3; 32]),
        epoch: 1,
        quota_bytes: Some(1000),
        used_bytes: 0,
        created_at: at(0),
    };
    assert!(world.database.insert_vault(&vault).await?);
    let wish = |name: &str, bytes| NewGrant {
        token_hash: *blake(name.as_bytes()),
        object: name.into(),
        bytes,
        hash: ContentHash([0; 32]),
        keep_free_bytes: 100,
    };
    let wishes = [wish("a", 600), wish("b", 600), wish("c", 300)];
    let answers = world.database.reserve(vault.id, machine.id, &wishes, at(900), at(0)).await?;
    let over = Reservation::OverQuota { quota_bytes: 1000 };
    assert_eq!(answers, [Reservation::Reserved, over, Reservation::Reserved]);
    assert!(world.database.settle_grant(*blake(b"a"), vault.id, 600).await?);
    assert!(!world.database.settle_grant(*blake(b"a"), vault.id, 600).await?);
    let later = world.database.reserve(vault.id, machine.id, &[wish("d", 300)], at(2000), at(901)).await?;
    assert_eq!(later, [Reservation::Reserved], "the grant of c expired");
    assert_eq!(world.database.vault(vault.id).await?.map(|v| v.used_bytes), Some(600));
    Ok(())
}

#[tokio::test]
async fn pages_of_the_list_hold_every_machine_once_in_every_order() -> anyhow::Result<()> {
    let world = World::new().await?;
    let location = world.location().await?;
    let token = world.token(location.id, 50).await?;
    for n in 0..7 {
        let wish = new_machine(&format!("Desk-{n}"));
        let machine = world.database.enrol(token, wish, at(n)).await?.machine;
        if n % 2 == 0 {
            world.database.put_status(&status(machine.id, n)).await?;
        }
    }
    for key in [SortKey::Status, SortKey::Name, SortKey::Place, SortKey::LastBackup, SortKey::NextBackup] {
        for descending in [false, true] {
            let sort = ListSort { key, descending };
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let page = world.database.list_machines(&ListFilter::default(), sort, cursor.as_ref(), 3).await?;
                seen.extend(page.rows.into_iter().map(|row| row.hostname));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let mut sorted = seen.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!((seen.len(), sorted.len()), (7, 7), "{sort:?}");
        }
    }
    let only = ListFilter { text: Some("desk-3".into()), ..ListFilter::default() };
    assert_eq!(world.database.list_machines(&only, ListSort::default(), None, 10).await?.rows.len(), 1);
    Ok(())
}

fn status(machine: nightkeep_wire::MachineId, n: i64) -> StatusRecord {
    StatusRecord {
        machine,
        bucket: if n == 0 { Bucket::Error } else { Bucket::Ok },
        reason: "as the test has it".into(),
        last_backup: Some(at(n)),
        last_point: None,
        next_backup: None,
        missed: 0,
        document: serde_json::json!({}),
        computed_at: at(n),
    }
}
