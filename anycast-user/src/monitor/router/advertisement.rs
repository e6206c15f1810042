//! The Router Advertisement (RFC 4861 4.2), as far as it tells who sends it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |     Code      |          Checksum             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Cur Hop Limit |M|O|  Reserved |       Router Lifetime         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Reachable Time                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Retrans Timer                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Options ...
//! ```

use std::ops::Range;

/// ICMPv6 type.
pub(super) const TYPE: u8 = 134;

const TYPE_AT: usize = 0;
const CODE_AT: usize = 1;
const OPTIONS_AT: usize = 16;

/// Within an option.
const OPTION_TYPE: usize = 0;
const OPTION_LENGTH: usize = 1;
const OPTION_ADDRESS: Range<usize> = 2..8;
const OPTION_UNIT: usize = 8;

/// Source link-layer address (RFC 4861 4.6.1).
const SOURCE_LINK_LAYER: u8 = 1;

/// The source link-layer address of a valid advertisement (RFC 4861 6.1.2); `None` if it is not valid or tells none.
pub(super) fn source_link_layer(message: &[u8]) -> Option<[u8; 6]> {
    if *message.get(TYPE_AT)? != TYPE || *message.get(CODE_AT)? != 0 {
        return None;
    }
    let mut options = message.get(OPTIONS_AT..)?;
    let mut found = None;
    while !options.is_empty() {
        let length = usize::from(*options.get(OPTION_LENGTH)?) * OPTION_UNIT;
        let option = options.get(..length).filter(|_| length > 0)?;
        if option[OPTION_TYPE] == SOURCE_LINK_LAYER && found.is_none() {
            found = option[OPTION_ADDRESS].try_into().ok();
        }
        options = &options[length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; 16] = [134, 0, 0x12, 0x34, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    const MTU: [u8; 8] = [5, 1, 0, 0, 0, 0, 5, 0xdc];
    const SOURCE: [u8; 8] = [1, 1, 2, 0, 0x5e, 0, 0x53, 1];

    #[test]
    fn the_source_link_layer_address_is_found_behind_other_options() {
        let message = [&HEAD[..], &MTU, &SOURCE].concat();
        assert_eq!(source_link_layer(&message), Some([2, 0, 0x5e, 0, 0x53, 1]));
        assert_eq!(source_link_layer(&[&HEAD[..], &MTU].concat()), None, "there need not be one");
    }

    #[test]
    fn what_is_not_valid_tells_nothing() {
        let whole = [&HEAD[..], &SOURCE, &MTU].concat();
        let with = |at: usize, value: u8| {
            let mut message = whole.clone();
            message[at] = value;
            source_link_layer(&message)
        };
        assert!(with(2, 9).is_some());
        assert_eq!(with(TYPE_AT, 133), None);
        assert_eq!(with(CODE_AT, 1), None);
        assert_eq!(with(25, 0), None, "an option of length 0, though behind the address");
        assert_eq!(with(25, 2), None, "one that runs past the end");
        for length in 0..whole.len() {
            assert!(length == 24 || source_link_layer(&whole[..length]).is_none(), "{length} octets");
        }
    }
}
