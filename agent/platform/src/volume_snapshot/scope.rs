//! Which volumes a request is about.

use std::path::{Path, PathBuf};

/// Those of some things whose places lie at or beneath a path, or hold one.
pub(super) fn concerned<'a, T>(all: &'a [T], place: impl Fn(&T) -> &PathBuf, paths: &[PathBuf]) -> Vec<&'a T> {
    let places: Vec<&Path> = all.iter().map(|thing| place(thing).as_path()).collect();
    let which = which(&places, paths);
    all.iter().zip(which).filter_map(|(thing, concerned)| concerned.then_some(thing)).collect()
}

/// Which of these places lie at or beneath a path, or hold one.
fn which(places: &[&Path], paths: &[PathBuf]) -> Vec<bool> {
    let mut concerned: Vec<bool> =
        places.iter().map(|place| paths.iter().any(|path| place.starts_with(path))).collect();
    for path in paths {
        let holders = places.iter().enumerate().filter(|(_, place)| path.starts_with(place));
        if let Some((at, _)) = holders.max_by_key(|(_, place)| place.components().count()) {
            concerned[at] = true;
        }
    }
    concerned
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::which;

    #[test]
    fn a_path_concerns_what_holds_it_and_what_lies_beneath() {
        let places = ["/", "/home", "/home/a/b", "/homes", "/srv"].map(Path::new);
        let check = |path: &str, expected: [bool; 5]| {
            assert_eq!(which(&places, &[PathBuf::from(path)]), expected, "{path}");
        };
        check("/", [true; 5]);
        check("/home", [false, true, true, false, false]);
        check("/home/a", [false, true, true, false, false]);
        check("/home/a/b/c", [false, false, true, false, false]);
        check("/etc", [true, false, false, false, false]);
    }
}
