use super::*;

/// Three events written by TensorBoard 2.21's own `RecordWriter`: the version at 1000.5 s; step 7 at 1001.25 s with
/// loss 0.5; step 300 at 1002 s with loss 0.25 and λ = −0.001.
const PEER: &str = "\
    1800000000000000a37f4b22090000000000448f401a0d627261696e2e4576656e743a32aba333451a000000\
    00000000129bd82d0900000000004a8f4010072a0d0a0b0a046c6f7373150000003ffebd12b3260000000000\
    0000734fe300090000000000508f4010ac022a180a0b0a046c6f7373150000803e0a090a02cebb156f1283ba\
    d7b27874";
/// The ends of the peer's records.
const ENDS: [usize; 3] = [40, 82, 136];

fn peer() -> Vec<u8> {
    let digits: Vec<char> = PEER.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
}

/// CRC-32C bit by bit, masked as the format says.
fn naive_crc(data: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The step and the values of each event after the first, by an independent parser of this layout only.
fn decoded(mut bytes: &[u8]) -> Vec<(u64, Vec<(String, f32)>)> {
    fn number(data: &mut &[u8]) -> u64 {
        let end = data.iter().position(|b| b & 0x80 == 0).unwrap();
        let (head, rest) = data.split_at(end + 1);
        *data = rest;
        head.iter().rev().fold(0, |n, b| n << 7 | u64::from(b & 0x7f))
    }
    fn take<'a>(data: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, rest) = data.split_at(count);
        *data = rest;
        head
    }
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let length = take(&mut bytes, 8);
        let crc = u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap());
        assert_eq!(crc, naive_crc(length));
        let count = u64::from_le_bytes(length.try_into().unwrap());
        let mut data = take(&mut bytes, count as usize);
        let crc = u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap());
        assert_eq!(crc, naive_crc(data));
        assert_eq!(take(&mut data, 1), [0x09]);
        assert!(f64::from_le_bytes(take(&mut data, 8).try_into().unwrap()) > 999.0);
        if data[0] == 0x1a {
            assert_eq!(data[1..], *b"\x0dbrain.Event:2");
            continue;
        }
        let mut step = 0;
        if data[0] == 0x10 {
            take(&mut data, 1);
            step = number(&mut data);
        }
        assert_eq!(take(&mut data, 1), [0x2a]);
        assert_eq!(number(&mut data) as usize, data.len());
        let mut values = Vec::new();
        while !data.is_empty() {
            assert_eq!(take(&mut data, 1), [0x0a]);
            number(&mut data);
            assert_eq!(take(&mut data, 1), [0x0a]);
            let count = number(&mut data) as usize;
            let name = String::from_utf8(take(&mut data, count).to_vec()).unwrap();
            assert_eq!(take(&mut data, 1), [0x15]);
            values.push((name, f32::from_le_bytes(take(&mut data, 4).try_into().unwrap())));
        }
        events.push((step, values));
    }
    events
}

#[test]
fn bytes_are_those_of_tensorboards_own_writer() {
    let ours = [
        record(&event(1000.5, 0, 3, VERSION)),
        record(&event(1001.25, 7, 5, &summary(&[("loss", 0.5)]))),
        record(&event(1002.0, 300, 5, &summary(&[("loss", 0.25), ("λ", -1e-3)]))),
    ];
    assert_eq!(ours.concat(), peer());
}

#[test]
fn a_peers_file_goes_on_from_any_step_and_from_any_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.out.tfevents.peer");
    for (last, end) in [
        (Some(0), 40),
        (Some(6), 40),
        (Some(7), 82),
        (Some(299), 82),
        (Some(300), 136),
        (None, 136),
    ] {
        std::fs::write(&path, peer()).unwrap();
        EventFile::open(&path, last).unwrap().scalars(8, &[("loss", 2.0)]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..end], peer()[..end]);
        assert_eq!(decoded(&bytes[end..]), [(8, vec![("loss".to_string(), 2.0)])]);
    }
    for cut in 0..136 {
        std::fs::write(&path, &peer()[..cut]).unwrap();
        drop(EventFile::open(&path, None).unwrap());
        let bytes = std::fs::read(&path).unwrap();
        match ENDS.into_iter().rfind(|&end| end <= cut) {
            Some(end) => assert_eq!(bytes, peer()[..end]),
            None => assert_eq!((bytes.len(), decoded(&bytes).len()), (40, 0)),
        }
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    for bit in 0..136 * 8 {
        let mut bytes = peer();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let whole = ENDS.into_iter().rfind(|&end| end <= bit / 8).unwrap_or(0);
        assert_eq!(kept_records(&bytes, u64::MAX), peer()[..whole]);
    }
}

#[test]
fn values_come_back_whatever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.out.tfevents.run");
    let mut events = EventFile::open(&path, None).unwrap();
    let long = "tag ".repeat(100);
    let steps = [0, 1, 127, 128, 16_384, u64::from(u32::MAX), i64::MAX as u64];
    for step in steps {
        let values = [(&long[..], 1.5), ("λ", f64::NAN), ("", f64::INFINITY), ("big", 1e300)];
        events.scalars(step, &values).unwrap();
    }
    events.scalars(5, &[]).unwrap();
    drop(events);
    let read = decoded(&std::fs::read(&path).unwrap());
    assert_eq!(read.iter().map(|e| e.0).collect::<Vec<_>>(), [&steps[..], &[5]].concat());
    let values = &read[0].1;
    assert_eq!(values[0], (long.clone(), 1.5));
    assert!(values[1].1.is_nan() && values[2].1.is_infinite() && values[3].1.is_infinite());
}

#[test]
fn another_kind_of_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.out.tfevents.other");
    let poem = "no event file at all, but somebody's only copy of a long and beautiful poem";
    std::fs::write(&path, poem).unwrap();
    let error = EventFile::open(&path, Some(3)).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), poem);
    assert!(matches!(EventFile::open(folder.path(), None), Err(Error::Io { .. })));
}
