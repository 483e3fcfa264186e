//! Sets of numbers that mostly follow each other: the packs of a segment, as they were numbered when it was taken in.
//!
//! **Invariant**: spans ascend, and neither touch nor overlap, so a set has one form.

use crate::codec::{DecodeError, Reader, Writer};

/// A set of numbers, as spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Numbers(Vec<Span>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u32,
    /// Included.
    last: u32,
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut spans: Vec<Span> = Vec::new();
        for number in numbers {
            match spans.last_mut() {
                Some(span) if span.last.checked_add(1) == Some(number) => span.last = number,
                _ => spans.push(Span { first: number, last: number }),
            }
        }
        spans.sort_unstable_by_key(|span| span.first);
        let mut joined: Vec<Span> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(before) if span.first <= before.last.saturating_add(1) => before.last = before.last.max(span.last),
                _ => joined.push(span),
            }
        }
        joined.shrink_to_fit();
        Self(joined)
    }
}

impl Numbers {
    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|span| span.first..=span.last)
    }

    /// A list of `varint first, varint how many more`.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.list(&self.0, |out, span| {
            out.varint(span.first.into()).varint((span.last - span.first).into());
        });
    }

    /// Reads a set of numbers up to `max`.
    pub(crate) fn read(reader: &mut Reader<'_>, max: u32) -> Result<Self, DecodeError> {
        let mut least = 0;
        let spans = reader.list(|reader| {
            let (first, more) = (reader.varint_max(max.into())?, reader.varint_max(max.into())?);
            let last = u32::try_from(first + more).ok().filter(|last| first >= least && *last <= max);
            let last = last.ok_or(reader.out_of_bounds())?;
            // Behind it one is left out, or it would be the same span.
            least = u64::from(last) + 2;
            Ok(Span { first: first as u32, last })
        })?;
        Ok(Self(spans))
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use crate::codec::{Reader, Writer};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_comes_back_from_its_spans(numbers in prop::collection::vec(0u32..60, 0..60), high in any::<bool>()) {
            let numbers: Vec<u32> = numbers.into_iter().map(|n| if high { u32::MAX - n } else { n }).collect();
            let set: Numbers = numbers.iter().copied().collect();
            let expected: Vec<u32> = numbers.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
            let mut out = Writer::new();
            set.write(&mut out);
            let mut reader = Reader::new(out.as_slice(), "numbers");
            prop_assert_eq!(Numbers::read(&mut reader, u32::MAX), Ok(set));
        }

        #[test]
        fn any_bytes_give_a_set_in_its_one_form_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(set) = Numbers::read(&mut Reader::new(&bytes, "numbers"), 200) {
                prop_assert!(set.iter().all(|number| number <= 200));
                prop_assert_eq!(set.iter().collect::<Numbers>(), set);
            }
        }
    }
}
