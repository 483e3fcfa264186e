//! Linux: what NetworkManager says on the system's bus.
//!
//! Networks that somebody else manages (servers, systemd-networkd) have no cost that the system knows.

use std::io;

use super::Connection;
use crate::bus;

const SERVICE: &str = "org.freedesktop.NetworkManager";
const PATH: &str = "/org/freedesktop/NetworkManager";

/// NMMetered: 1 yes, 2 no, 3 guessed yes, 4 guessed no, 0 unknown.
const METERED: [u32; 2] = [1, 3];
const UNMETERED: [u32; 2] = [2, 4];

pub(super) fn connection() -> io::Result<Connection> {
    let properties = bus::properties(SERVICE, PATH, SERVICE)?;
    let metered = properties.get("Metered").and_then(|value| u32::try_from(value).ok());
    let kind = properties.get("PrimaryConnectionType").and_then(|value| <&str>::try_from(value).ok());
    Ok(Connection {
        metered: metered.and_then(|value| match value {
            value if METERED.contains(&value) => Some(true),
            value if UNMETERED.contains(&value) => Some(false),
            _ => None,
        }),
        vpn: kind.filter(|kind| !kind.is_empty()).map(|kind| matches!(kind, "vpn" | "wireguard" | "tun" | "ip-tunnel")),
    })
}
