//! The icon, drawn: a disc in the colour of the mood with a sign of its own, readable without the colour.

use crate::model::Mood;

/// Pixels of one icon in ARGB, row by row, as StatusNotifierItem wants them.
pub(crate) struct Pixels {
    pub(crate) size: u32,
    pub(crate) argb: Vec<u8>,
}

/// Each pixel is looked at in so many places a side, so that edges are smooth at any size.
const SAMPLES: u32 = 4;

/// The icon of a mood. `size` is the edge in pixels.
pub(crate) fn draw(mood: Mood, size: u32) -> Pixels {
    let mut argb = Vec::with_capacity((size * size * 4) as usize);
    for y in 0..size {
        for x in 0..size {
            argb.extend_from_slice(&pixel(mood, size, x, y));
        }
    }
    Pixels { size, argb }
}

/// Alpha by how much of it the disc covers, the colour between the disc's and the sign's by how much of that is sign.
fn pixel(mood: Mood, size: u32, x: u32, y: u32) -> [u8; 4] {
    let (mut disc, mut ink) = (0, 0);
    for n in 0..SAMPLES * SAMPLES {
        // From the middle, in units of the radius.
        let at = |pixel: u32, part: u32| {
            let place = f64::from(pixel) + (f64::from(part) + 0.5) / f64::from(SAMPLES);
            place / f64::from(size) * 2.0 - 1.0
        };
        let (dx, dy) = (at(x, n % SAMPLES), at(y, n / SAMPLES));
        if dx.hypot(dy) <= 0.98 {
            disc += 1;
            ink += u32::from(has_ink(mood, dx, dy));
        }
    }
    if disc == 0 {
        return [0; 4];
    }
    let (red, green, blue) = colour(mood);
    let mixed = |colour: u8| ((u32::from(colour) * (disc - ink) + 255 * ink) / disc).min(255) as u8;
    [(255 * disc / (SAMPLES * SAMPLES)) as u8, mixed(red), mixed(green), mixed(blue)]
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
    let near = |a: (f64, f64), b: (f64, f64)| distance((x, y), a, b) < 0.15;
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
        for size in [16, 22, 32] {
            let sign = |mood| -> Vec<bool> { draw(mood, size).argb.chunks(4).map(is_ink).collect() };
            for (n, one) in ALL.into_iter().enumerate() {
                assert!(sign(one).iter().filter(|ink| **ink).count() > 8, "{one:?} has a sign");
                for other in &ALL[n + 1..] {
                    let differs = sign(one).iter().zip(sign(*other)).filter(|(a, b)| **a != *b).count();
                    assert!(differs > 8, "{one:?} looks like {other:?} at {size}");
                }
            }
        }
    }

    /// Nearer to the sign's white than to any disc.
    fn is_ink(pixel: &[u8]) -> bool {
        pixel[0] > 128 && pixel[1..].iter().all(|colour| *colour > 160)
    }

    #[test]
    fn corners_are_transparent() {
        assert_eq!(&draw(Mood::Ok, 22).argb[..4], &[0, 0, 0, 0]);
        assert_eq!(draw(Mood::Ok, 22).argb.len(), 22 * 22 * 4);
    }
}
