//! Circumstances of the machine under which a job that the schedule brought may not start, or not go on.
//!
//! Invariant: what the machine does not tell holds nothing back, and what a person asked for is held back by nothing.

use nightkeep_platform::{network, power};
use nightkeep_wire::plan::PlanOptions;

/// What the machine runs on and hangs at; none where it does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// It runs on battery.
    pub(crate) on_battery: Option<bool>,
    /// How full the battery is, in percent.
    pub(crate) charge_percent: Option<u8>,
    /// Its network is paid by the byte.
    pub(crate) metered: Option<bool>,
    /// Everything goes through a VPN.
    pub(crate) vpn: Option<bool>,
}

impl Conditions {
    /// Asks the system. Blocks for some seconds at most; not for tasks of the runtime.
    pub(crate) fn sense() -> Self {
        let supply = power::supply();
        let connection = network::connection().unwrap_or_else(|error| {
            tracing::trace!(%error, "The cost of the network is not known");
            network::Connection::default()
        });
        Self {
            on_battery: supply.on_battery,
            charge_percent: supply.charge_percent,
            metered: connection.metered,
            vpn: connection.vpn,
        }
    }

    /// What a start waits for; none when nothing holds it back.
    pub(crate) fn hold_back(&self, options: &PlanOptions) -> Option<String> {
        let (battery, network) = (&options.battery, &options.network);
        let on_battery = self.on_battery == Some(true);
        let low = self.charge_percent.is_some_and(|percent| percent < battery.charge_percent_min);
        if on_battery && !battery.run {
            Some("mains power".to_owned())
        } else if on_battery && low {
            Some(format!("mains power, or a battery charged to {} %", battery.charge_percent_min))
        } else if self.metered == Some(true) && !network.on_metered {
            Some("a network that is not metered".to_owned())
        } else if self.vpn == Some(true) && !network.on_vpn {
            Some("a connection that is no VPN".to_owned())
        } else {
            None
        }
    }

    /// Why a run that is going on must be interrupted; none when it may go on.
    pub(crate) fn interrupt(&self, options: &PlanOptions) -> Option<&'static str> {
        let (battery, network) = (&options.battery, &options.network);
        let least = battery.charge_percent_stop.min(battery.charge_percent_min);
        let empty = self.on_battery == Some(true) && self.charge_percent.is_some_and(|percent| percent < least);
        if empty {
            Some("the battery is nearly empty")
        } else if self.metered == Some(true) && !network.on_metered && network.stop_on_metered {
            Some("the network has become metered")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(change: impl FnOnce(&mut PlanOptions)) -> PlanOptions {
        let mut options = PlanOptions::default();
        change(&mut options);
        options
    }

    #[test]
    fn what_is_not_known_holds_nothing_back() {
        let strict = options(|o| {
            o.battery.run = false;
            o.network.on_vpn = false;
        });
        assert_eq!(Conditions::default().hold_back(&strict), None);
        assert_eq!(Conditions::default().interrupt(&strict), None);
    }

    #[test]
    fn each_rule_holds_back_with_what_it_waits_for_and_only_two_interrupt() {
        let battery =
            |percent| Conditions { on_battery: Some(true), charge_percent: Some(percent), ..Conditions::default() };
        let metered = Conditions { metered: Some(true), ..Conditions::default() };
        let vpn = Conditions { vpn: Some(true), ..Conditions::default() };
        let usual = PlanOptions::default();
        let check = |conditions: Conditions, options: &PlanOptions, waits: Option<&str>, stops: bool| {
            let held = conditions.hold_back(options);
            assert_eq!(held.is_some(), waits.is_some(), "{conditions:?}: {held:?}");
            assert!(held.unwrap_or_default().contains(waits.unwrap_or_default()), "{conditions:?}");
            assert_eq!(conditions.interrupt(options).is_some(), stops, "{conditions:?}");
        };
        check(battery(30), &usual, None, false);
        check(battery(29), &usual, Some("30 %"), false);
        check(battery(15), &usual, Some("30 %"), false);
        check(battery(14), &usual, Some("30 %"), true);
        check(battery(1), &options(|o| o.battery.charge_percent_stop = 0), Some("30 %"), false);
        check(battery(9), &options(|o| o.battery.charge_percent_min = 5), None, false);
        check(battery(100), &options(|o| o.battery.run = false), Some("mains"), false);
        let plugged = Conditions { on_battery: Some(false), ..battery(3) };
        check(plugged, &usual, None, false);
        check(metered, &usual, Some("metered"), true);
        check(metered, &options(|o| o.network.stop_on_metered = false), Some("metered"), false);
        check(metered, &options(|o| o.network.on_metered = true), None, false);
        check(vpn, &usual, None, false);
        check(vpn, &options(|o| o.network.on_vpn = false), Some("VPN"), false);
    }
}
