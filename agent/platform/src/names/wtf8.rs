//! WTF-8: the 16-bit names of Windows, which need not be Unicode, as bytes. Of Unicode it is UTF-8.
//!
//! **Invariant**: every name has one form in each direction; bytes that no name gives are refused.

/// The bytes of a name of 16-bit units: surrogates in pairs are one character, others stand for themselves.
pub(crate) fn from_wide(wide: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(wide.len());
    for unit in char::decode_utf16(wide.iter().copied()) {
        match unit {
            Ok(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let unit = lone.unpaired_surrogate();
                bytes.extend([0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]);
            }
        }
    }
    bytes
}

/// The 16-bit units of a name; none when the bytes are not what [`from_wide`] makes.
pub(crate) fn to_wide(bytes: &[u8]) -> Option<Vec<u16>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.encode_utf16().collect());
    }
    let mut wide = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let lone = rest.get(..3).and_then(surrogate);
        let length = match (lone, first) {
            (Some(unit), _) => {
                wide.push(unit);
                3
            }
            (None, _) => {
                let length =
                    (1..=4).find(|length| rest.get(..*length).is_some_and(|b| std::str::from_utf8(b).is_ok()))?;
                wide.extend(std::str::from_utf8(&rest[..length]).ok()?.encode_utf16());
                length
            }
        };
        rest = &rest[length..];
    }
    // Two lone surrogates that make a pair would come back as one character.
    (from_wide(&wide) == bytes).then_some(wide)
}

fn surrogate(bytes: &[u8]) -> Option<u16> {
    let [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf] = bytes else { return None };
    Some(0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f))
}

#[cfg(test)]
mod tests {
    use super::{from_wide, to_wide};

    #[test]
    fn every_name_comes_back_and_other_bytes_are_refused() {
        let names: [&[u16]; 5] =
            [&[], &[0x61, 0xe4, 0x4e2d], &[0xd83d, 0xde00], &[0xd800], &[0x61, 0xdc00, 0xd83d, 0x62]];
        for wide in names {
            assert_eq!(to_wide(&from_wide(wide)).as_deref(), Some(wide), "{wide:x?}");
        }
        assert_eq!(from_wide(&[0xd83d, 0xde00]), "😀".as_bytes());
        for bytes in [&[0xff][..], &[0xed, 0xa0], &[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], &[0xc0, 0x80], &[0xe4]] {
            assert_eq!(to_wide(bytes), None, "{bytes:x?}");
        }
    }
}
