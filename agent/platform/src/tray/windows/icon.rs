//! Icons as Windows draws them.

use std::ptr::null_mut;

use windows_sys::Win32::UI::WindowsAndMessaging::{CreateIcon, DestroyIcon, HICON};

use crate::tray::Icon;

/// An icon that is given back.
pub(super) struct OwnedIcon(pub(super) HICON);

impl OwnedIcon {
    pub(super) fn of(icons: &[Icon]) -> Option<Self> {
        let icon = icons.first()?;
        let (mask, colours) = bits(icon)?;
        let edge = i32::try_from(icon.edge).ok()?;
        // SAFETY: both buffers hold as many bits as an icon of this size has, as `bits` sees to.
        let handle = unsafe { CreateIcon(null_mut(), edge, edge, 1, 32, mask.as_ptr(), colours.as_ptr()) };
        (!handle.is_null()).then_some(Self(handle))
    }
}

impl Drop for OwnedIcon {
    fn drop(&mut self) {
        // SAFETY: it is ours; the shell has a copy.
        unsafe { DestroyIcon(self.0) };
    }
}

/// Which pixels are not there, a bit each with rows of whole 16-bit words, and the colours as blue, green, red, alpha. None when
/// the pixels are not as many as they should be.
fn bits(icon: &Icon) -> Option<(Vec<u8>, Vec<u8>)> {
    let edge = usize::try_from(icon.edge).ok().filter(|edge| *edge > 0)?;
    if icon.argb.len() != edge.checked_mul(edge)?.checked_mul(4)? {
        return None;
    }
    let row_bytes = edge.div_ceil(16) * 2;
    let (mut mask, mut colours) = (vec![0; row_bytes * edge], Vec::with_capacity(icon.argb.len()));
    for (number, pixel) in icon.argb.chunks_exact(4).enumerate() {
        let [alpha, red, green, blue] = [pixel[0], pixel[1], pixel[2], pixel[3]];
        colours.extend_from_slice(&[blue, green, red, alpha]);
        if alpha == 0 {
            let (row, column) = (number / edge, number % edge);
            mask[row * row_bytes + column / 8] |= 0x80 >> (column % 8);
        }
    }
    Some((mask, colours))
}

#[cfg(test)]
mod tests {
    use super::{Icon, bits};

    #[test]
    fn an_icon_is_turned_into_what_windows_draws() {
        // One pixel of opaque orange, one of none, and two more rows' worth.
        let icon = Icon { edge: 2, argb: vec![255, 1, 2, 3, 0, 0, 0, 0, 128, 4, 5, 6, 0, 0, 0, 0] };
        let (mask, colours) = bits(&icon).unwrap_or_default();
        assert_eq!(mask, [0x40, 0, 0x40, 0]);
        assert_eq!(&colours[..4], [3, 2, 1, 255]);
        assert_eq!(&colours[8..12], [6, 5, 4, 128]);
        assert!(bits(&Icon { edge: 3, argb: vec![0; 16] }).is_none());
    }
}
