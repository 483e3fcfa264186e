//! Names that a target takes for one although the catalogue has two: `Makefile` and `makefile` where case makes no difference.
//!
//! **Invariant**: of such names the first is restored and the others are told; none overwrites another. Memory grows with the names
//! of the folders on the way to the entry, and only where the target folds case.

use nightkeep_vault::reader::is_within;
use std::collections::HashMap;

/// The names of one folder, by what they have in common.
type Names = HashMap<Vec<u8>, Vec<Vec<u8>>>;

/// The names that were seen in the folders on the way to the entry that is being restored.
#[derive(Default)]
pub(crate) struct Siblings {
    folders: Vec<(Vec<u8>, Names)>,
    /// A folder that was not restored, with all below it.
    left_out: Option<Vec<u8>>,
}

/// How an entry's name stands to those before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The first of its kind.
    Own,
    /// The target takes it for this one.
    Taken(Vec<u8>),
    /// It lies in a folder that was left out.
    Beneath,
}

impl Siblings {
    /// Judges the next entry in the catalogue's order; `same` asks the target whether two names are one to it.
    pub(crate) fn judge(&mut self, path: &[u8], is_folder: bool, same: impl Fn(&[u8], &[u8]) -> bool) -> Name {
        if let Some(left_out) = &self.left_out {
            if is_within(path, left_out) {
                return Name::Beneath;
            }
            self.left_out = None;
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = slash.map_or((&[][..], path), |slash| (&path[..slash], &path[slash + 1..]));
        while self.folders.last().is_some_and(|(folder, _)| folder != parent && !is_below(parent, folder)) {
            self.folders.pop();
        }
        if self.folders.last().is_none_or(|(folder, _)| folder != parent) {
            self.folders.push((parent.to_vec(), HashMap::new()));
        }
        let Some((_, names)) = self.folders.last_mut() else { return Name::Own };
        let alike = names.entry(folded(name)).or_default();
        if let Some(taken) = alike.iter().find(|other| same(other, name)) {
            let taken = taken.clone();
            if is_folder {
                self.left_out = Some(path.to_vec());
            }
            return Name::Taken(taken);
        }
        alike.push(name.to_vec());
        Name::Own
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || is_within(path, folder)
}

/// Alike for every two names that some system takes for one; the target has the last word.
fn folded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_uppercase().to_lowercase().into_bytes(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Siblings};

    fn judge(entries: &[(&str, bool)], same: impl Fn(&[u8], &[u8]) -> bool) -> Vec<Name> {
        let mut siblings = Siblings::default();
        entries.iter().map(|(path, is_folder)| siblings.judge(path.as_bytes(), *is_folder, &same)).collect()
    }

    fn ignoring_case(a: &[u8], b: &[u8]) -> bool {
        String::from_utf8_lossy(a).to_lowercase() == String::from_utf8_lossy(b).to_lowercase()
    }

    fn taken(name: &str) -> Name {
        Name::Taken(name.as_bytes().to_vec())
    }

    #[test]
    fn the_first_of_two_names_is_kept_and_only_within_its_own_folder() {
        let entries = [
            ("A", true),
            ("A/Read", false),
            ("A/read", false),
            ("B", true),
            ("B/read", false),
            ("Ärger", false),
            ("ärger", false),
        ];
        let judged = judge(&entries, ignoring_case);
        let own = || Name::Own;
        assert_eq!(judged, [own(), own(), taken("Read"), own(), own(), own(), taken("Ärger")]);
    }

    #[test]
    fn a_folder_that_is_taken_is_left_out_with_all_below_it() {
        let entries = [
            ("Data", true),
            ("Data/x", false),
            ("data", true),
            ("data/x", false),
            ("data/y", true),
            ("data/y/z", false),
            ("e", false),
        ];
        let judged = judge(&entries, ignoring_case);
        let own = || Name::Own;
        assert_eq!(judged, [own(), own(), taken("Data"), Name::Beneath, Name::Beneath, Name::Beneath, own()]);
    }

    #[test]
    fn a_name_met_again_behind_a_folder_is_still_known() {
        let entries = [("A", false), ("B", true), ("B/a", false), ("a", false)];
        let own = || Name::Own;
        assert_eq!(judge(&entries, ignoring_case), [own(), own(), own(), taken("A")]);
    }

    #[test]
    fn the_target_has_the_last_word() {
        // The Kelvin sign and k are one to Unicode and two to NTFS.
        let entries = [("k", false), ("\u{212A}", false)];
        assert_eq!(judge(&entries, |_, _| false), [Name::Own, Name::Own]);
        assert_eq!(judge(&entries, |_, _| true), [Name::Own, taken("k")]);
    }
}
