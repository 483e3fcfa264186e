//! Linux: `/sys/class/power_supply`.

use std::fs;
use std::path::Path;

use super::Supply;

pub(super) fn supply() -> Supply {
    read(Path::new("/sys/class/power_supply"))
}

/// Mains that are online decide; without any, a discharging battery of the machine itself does. Several batteries are as full
/// as they are on average.
fn read(supplies: &Path) -> Supply {
    let (mut on_mains, mut discharging) = (false, None);
    let mut charges: Vec<u32> = Vec::new();
    for supply in fs::read_dir(supplies).into_iter().flatten().flatten() {
        let value = |name: &str| fs::read_to_string(supply.path().join(name)).map(|text| text.trim().to_owned());
        let Ok(kind) = value("type") else { continue };
        // A mouse or a headset reports its battery here too.
        if value("scope").is_ok_and(|scope| scope == "Device") {
            continue;
        }
        match kind.as_str() {
            "Mains" | "USB" if value("online").is_ok_and(|online| online == "1") => on_mains = true,
            "Battery" => {
                let this = value("status").is_ok_and(|status| status == "Discharging");
                discharging = Some(discharging.unwrap_or(false) || this);
                charges.extend(value("capacity").ok().and_then(|text| text.parse::<u32>().ok()));
            }
            _ => {}
        }
    }
    let mean = charges.iter().sum::<u32>().checked_div(u32::try_from(charges.len()).unwrap_or(1));
    Supply {
        on_battery: if on_mains { Some(false) } else { discharging },
        charge_percent: mean.and_then(|percent| u8::try_from(percent.min(100)).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Supply, read};

    #[test]
    fn a_discharging_battery_counts_only_without_mains_and_its_charge_is_told() -> std::io::Result<()> {
        let check = |supplies: &[&[(&str, &str)]], on_battery, charge_percent| {
            let dir = tempfile::tempdir()?;
            for (index, values) in supplies.iter().enumerate() {
                let supply = dir.path().join(format!("s{index}"));
                std::fs::create_dir(&supply)?;
                for (name, value) in *values {
                    std::fs::write(supply.join(name), format!("{value}\n"))?;
                }
            }
            assert_eq!(read(dir.path()), Supply { on_battery, charge_percent }, "{supplies:?}");
            std::io::Result::Ok(())
        };
        let mains_on: &[_] = &[("type", "Mains"), ("online", "1")];
        let mains_off: &[_] = &[("type", "Mains"), ("online", "0")];
        let draining: &[_] = &[("type", "Battery"), ("status", "Discharging"), ("capacity", "41")];
        let full: &[_] = &[("type", "Battery"), ("status", "Full"), ("capacity", "101")];
        let silent: &[_] = &[("type", "Battery"), ("status", "Full")];
        let mouse: &[_] = &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device"), ("capacity", "3")];
        check(&[], None, None)?;
        check(&[mouse], None, None)?;
        check(&[mains_on, draining], Some(false), Some(41))?;
        check(&[mains_off, draining], Some(true), Some(41))?;
        check(&[full, draining, mouse], Some(true), Some(71))?;
        check(&[full], Some(false), Some(100))?;
        check(&[silent], Some(false), None)
    }

    #[test]
    fn a_machine_without_the_folder_knows_nothing() {
        assert_eq!(read(std::path::Path::new("/nonexistent")), Supply::default());
    }
}
