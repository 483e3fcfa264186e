//! Who moves points out: never too early, whatever clocks say, and never the last one.

use crate::lab::{DAY, Lab, NOW, back_up, later, noise, state};
use nightkeep_vault::codec::Time;
use nightkeep_vault::collect::{self, Candidate, RetireOptions, Retirement};
use nightkeep_vault::vault::Vault;

/// Expires what is older than seven days.
fn plan(vault: &Vault, options: &RetireOptions) -> Retirement {
    let seven_days = |candidates: &[Candidate<'_>]| {
        let is_old = |candidate: &Candidate<'_>| options.now.seconds - candidate.began.seconds > 7 * DAY;
        candidates.iter().map(|candidate| is_old(candidate).then(|| "seven days".to_owned())).collect()
    };
    collect::plan_retirement(vault, options, &mut { seven_days }).unwrap()
}

fn sequences(retirement: &Retirement) -> Vec<u64> {
    retirement.trash.iter().map(|(listed, _)| listed.point.header.sequence).collect()
}

/// A machine that backs up at these moments, in days from now, by its own clock.
fn lab(days: &[i64]) -> Lab {
    let mut lab = Lab::new();
    lab.write("a", &state(&[("file", noise(1000, 1))]));
    for days in days {
        back_up(&lab.vault(), &lab.source("a"), "a", later(*days)).unwrap();
    }
    lab
}

#[test]
fn what_is_old_goes_to_the_trash_first_and_is_dropped_after_its_days_there() {
    let lab = lab(&[-30, -20, -2]);
    let vault = lab.keeper(lab.store.clone());
    let retirement = plan(&vault, &RetireOptions::new(NOW));
    assert_eq!(sequences(&retirement), [1, 2]);
    retirement.run(&vault, NOW).unwrap();
    for (days, dropped) in [(0, 0), (13, 0), (14, 2)] {
        let retirement = plan(&vault, &RetireOptions::new(later(days)));
        assert_eq!(retirement.forget.len(), dropped, "after {days} days");
        retirement.run(&vault, later(days)).unwrap();
        lab.collect_at(later(days)).unwrap();
    }
    assert_eq!(vault.points(lab.machine("a")).unwrap().points.len(), 1);
    lab.assert_whole(&lab.store, "what is left");
}

/// A machine whose clock is ten years behind, or ahead, or jumps between the two.
#[test]
fn scenario_12_a_wrong_clock_of_a_machine_makes_no_point_expire_early() {
    for (days, story) in [
        (&[-3650, -3650, -3649][..], "always behind"),
        (&[-2, -3650, -1][..], "behind once"),
        (&[3650, 3651, 3652][..], "ahead"),
        (&[3650, -1, -3650][..], "jumping"),
    ] {
        let lab = lab(&[-1]);
        // The vault is as young as its first point: nothing in it can be older.
        let store = nightkeep_vault::store::MemoryStore::new();
        let made = Time { seconds: NOW.seconds - 3 * DAY, nanoseconds: 0 };
        let custody = nightkeep_vault::record::config::Custody::Owner;
        let root = lab.root.clone();
        Vault::create(std::sync::Arc::new(store.clone()), root, crate::lab::VAULT, custody, made).unwrap();
        for days in days {
            back_up(&lab.owner(store.clone()), &lab.source("a"), "a", later(*days)).unwrap();
        }
        let vault = lab.keeper(store.clone());
        assert!(plan(&vault, &RetireOptions::new(NOW)).is_empty(), "{story}");
        assert!(plan(&vault, &RetireOptions::new(later(3))).is_empty(), "{story}: three days later");
    }
}

/// An infected machine writes one point after the other: what it had before stays as long as it would have.
#[test]
fn scenario_26_a_flood_of_points_pushes_no_older_one_out() {
    let mut days = vec![-6, -5, -4];
    days.extend([0; 30]);
    days.extend([3650; 5]);
    let lab = lab(&days);
    let vault = lab.keeper(lab.store.clone());
    assert!(plan(&vault, &RetireOptions::new(NOW)).is_empty());
    // When their time has come, only a share of them goes at once, the oldest first.
    let careful = RetireOptions { one_in: Some(10), ..RetireOptions::new(later(9)) };
    let retirement = plan(&vault, &careful);
    assert_eq!((sequences(&retirement), retirement.held_back), (vec![1, 2, 3], 30));
}

#[test]
fn the_newest_point_and_a_held_one_never_go() {
    let lab = lab(&[-300, -200, -100]);
    let vault = lab.vault();
    let first = vault.points(lab.machine("a")).unwrap().points.swap_remove(0);
    vault.retain(&first, nightkeep_vault::record::retention::Action::Hold, NOW, "court").unwrap();
    assert_eq!(sequences(&plan(&vault, &RetireOptions::new(NOW))), [2]);
    // A trash record that was written beside the hold does not count.
    let first = vault.points(lab.machine("a")).unwrap().points.swap_remove(0);
    vault.retain(&first, nightkeep_vault::record::retention::Action::Trash, NOW, "mistake").unwrap();
    assert!(!vault.points(lab.machine("a")).unwrap().points[0].retained.trashed);
}
