//! Linux: `/sys/class/power_supply`.

use std::fs;
use std::path::Path;

pub(super) fn on_battery() -> Option<bool> {
    read(Path::new("/sys/class/power_supply"))
}

/// Mains that are online decide; without any, a discharging battery of the machine itself does.
fn read(supplies: &Path) -> Option<bool> {
    let mut discharging = None;
    for supply in fs::read_dir(supplies).ok()?.flatten() {
        let value = |name: &str| fs::read_to_string(supply.path().join(name)).map(|text| text.trim().to_owned());
        let Ok(kind) = value("type") else { continue };
        // A mouse or a headset reports its battery here too.
        if value("scope").is_ok_and(|scope| scope == "Device") {
            continue;
        }
        match kind.as_str() {
            "Mains" | "USB" if value("online").is_ok_and(|online| online == "1") => return Some(false),
            "Battery" => {
                let this = value("status").is_ok_and(|status| status == "Discharging");
                discharging = Some(discharging.unwrap_or(false) || this);
            }
            _ => {}
        }
    }
    discharging
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_discharging_battery_counts_only_without_mains() -> std::io::Result<()> {
        let check = |supplies: &[&[(&str, &str)]], expected| {
            let dir = tempfile::tempdir()?;
            for (index, values) in supplies.iter().enumerate() {
                let supply = dir.path().join(format!("s{index}"));
                std::fs::create_dir(&supply)?;
                for (name, value) in *values {
                    std::fs::write(supply.join(name), format!("{value}\n"))?;
                }
            }
            assert_eq!(read(dir.path()), expected, "{supplies:?}");
            std::io::Result::Ok(())
        };
        let mains_on: &[_] = &[("type", "Mains"), ("online", "1")];
        let mains_off: &[_] = &[("type", "Mains"), ("online", "0")];
        let draining: &[_] = &[("type", "Battery"), ("status", "Discharging")];
        let full: &[_] = &[("type", "Battery"), ("status", "Full")];
        let mouse: &[_] = &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device")];
        check(&[], None)?;
        check(&[mouse], None)?;
        check(&[mains_on, draining], Some(false))?;
        check(&[mains_off, draining], Some(true))?;
        check(&[full, draining], Some(true))?;
        check(&[full], Some(false))
    }
}
