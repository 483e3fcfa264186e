//! The icon, drawn: a disc in the colour of the mood with a sign of its own, readable without the colour.

use crate::model::Mood;

/// Pixels of one icon in ARGB, row by row, as StatusNotifierItem wants them.
pub(crate) struct Pixels {
    pub(crate) size: u32,
    pub(crate) argb: Vec<u8>,
}

/// The icon of a mood. `size` is the edge in pixels.
pub(crate) fn draw(mood: Mood, size: u32) -> Pixels {
    let (red, green, blue) = colour(mood);
    let mut argb = Vec::with_capacity((size * size * 4) as usize);
    for y in 0..size {
        for x in 0..size {
            // From the middle, in units of the radius.
            let at = |n: u32| (f64::from(n) + 0.5) / f64::from(size) * 2.0 - 1.0;
            let (dx, dy) = (at(x), at(y));
            let pixel = match dx.hypot(dy) <= 0.96 {
                false => [0, 0, 0, 0],
                true if has_ink(mood, dx, dy) => [255, 255, 255, 255],
                true => [255, red, green, blue],
            };
            argb.extend_from_slice(&pixel);
        }
    }
    Pixels { size, argb }
}

const fn colour(mood: Mood) -> (u8, u8, u8) {
    match mood {
        Mood::Ok => (0x1b, 0x7f, 0x3b),
        Mood::Running => (0x1f, 0x5f, 0xbf),
        Mood::Warning => (0xb3, 0x6b, 0x00),
        Mood::Error => (0xb3, 0x1b, 0x1b),
        Mood::NotProtected => (0x8a, 0x1f, 0x5c),
        Mood::Paused => (0x55, 0x5f, 0x6b),
        Mood::Unknown => (0x7a, 0x7a, 0x7a),
    }
}

/// Whether the sign covers this place.
fn has_ink(mood: Mood, x: f64, y: f64) -> bool {
    let near = |a: (f64, f64), b: (f64, f64)| distance((x, y), a, b) < 0.13;
    match mood {
        Mood::Ok => near((-0.45, 0.05), (-0.12, 0.4)) || near((-0.12, 0.4), (0.48, -0.35)),
        Mood::Running => {
            near((0.0, 0.5), (0.0, -0.5)) || near((0.0, -0.5), (-0.35, -0.1)) || near((0.0, -0.5), (0.35, -0.1))
        }
        Mood::Warning => near((0.0, -0.55), (0.0, 0.15)) || near((0.0, 0.5), (0.0, 0.5)),
        Mood::Error => near((-0.38, -0.38), (0.38, 0.38)) || near((-0.38, 0.38), (0.38, -0.38)),
        Mood::NotProtected => near((-0.5, 0.0), (0.5, 0.0)),
        Mood::Paused => near((-0.22, -0.4), (-0.22, 0.4)) || near((0.22, -0.4), (0.22, 0.4)),
        Mood::Unknown => {
            near((0.0, 0.5), (0.0, 0.5)) || near((0.0, 0.15), (0.25, -0.2)) || near((0.25, -0.2), (-0.2, -0.5))
        }
    }
}

/// Distance of a point from a line between two others.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (along, across) = (to.0 - from.0, to.1 - from.1);
    let length = along * along + across * across;
    let share = match length > 0.0 {
        true => (((point.0 - from.0) * along + (point.1 - from.1) * across) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (point.0 - from.0 - share * along).hypot(point.1 - from.1 - share * across)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Mood; 7] =
        [Mood::Ok, Mood::Running, Mood::Warning, Mood::Error, Mood::NotProtected, Mood::Paused, Mood::Unknown];

    #[test]
    fn every_mood_can_be_told_by_its_sign_alone() {
        let sign = |mood| -> Vec<bool> { draw(mood, 22).argb.chunks(4).map(|pixel| pixel == [255; 4]).collect() };
        for (n, one) in ALL.into_iter().enumerate() {
            assert!(sign(one).iter().filter(|ink| **ink).count() > 8, "{one:?} has a sign");
            for other in &ALL[n + 1..] {
                let differs = sign(one).iter().zip(sign(*other)).filter(|(a, b)| **a != *b).count();
                assert!(differs > 8, "{one:?} looks like {other:?}");
            }
        }
    }

    #[test]
    fn corners_are_transparent() {
        assert_eq!(&draw(Mood::Ok, 22).argb[..4], &[0, 0, 0, 0]);
        assert_eq!(draw(Mood::Ok, 22).argb.len(), 22 * 22 * 4);
    }
}
