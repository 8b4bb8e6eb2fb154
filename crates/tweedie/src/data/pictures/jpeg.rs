//! The end of a JPEG file (ITU-T T.81, annex B: markers, segments and entropy-coded data).
//!
//! Phones append videos, depth maps and further pictures after the end marker. Segments before it may hold whole JPEG
//! files, such as thumbnails in EXIF, which their lengths pass over.

const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
/// The marker without content.
const TEMPORARY: u8 = 0x01;

/// The length of a JPEG file up to its first end marker after a scan; none if it ends before.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut at = bytes.starts_with(&[0xff, START]).then_some(2)?;
    let mut scanned = false;
    loop {
        // In entropy-coded data 0xff is followed by 0, or by a restart; it may fill the place before a marker.
        let found = bytes.get(at..)?.windows(2).position(|pair| {
            pair[0] == 0xff && !matches!(pair[1], 0 | 0xff) && !RESTARTS.contains(&pair[1])
        })?;
        let marker = bytes[at + found + 1];
        at += found + 2;
        match marker {
            END if scanned => return Some(at),
            END | START | TEMPORARY => {}
            _ => {
                scanned |= marker == SCAN;
                let size = bytes.get(at..at + 2)?;
                at += usize::from(u16::from_be_bytes([size[0], size[1]])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    /// A segment of the application with this content.
    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let size = (content.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &size[..], content].concat()
    }

    #[test]
    fn a_file_ends_at_the_first_end_marker_behind_a_scan() {
        let scan = [&segment(0xda, &[1, 2, 3])[..], &[7, 0xff, 0, 9, 0xff, 0xd3, 5]].concat();
        let end = [0xff, 0xd9];
        let thumbnail = [&[0xff, 0xd8][..], &segment(0xda, &[1]), &[4, 4], &end].concat();
        let whole = [
            &[0xff, 0xd8][..],
            &segment(0xe1, &thumbnail),
            &[0xff, 0xff, 0xff],
            &segment(0xdb, &[0xff, 0xd9, 0xff])[1..],
            &scan,
            &segment(0xc4, &end),
            &scan,
            &end,
        ]
        .concat();
        assert_eq!(length(&whole), Some(whole.len()));
        let appended = [&whole[..], &[0xff, 0xda, 0xff, 0xd8, 0xff, 0xd9, 0xff]].concat();
        assert_eq!(length(&appended), Some(whole.len()));
        for cut in 0..whole.len() {
            assert_eq!(length(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(length(b"\x89PNG"), None);
    }
}
