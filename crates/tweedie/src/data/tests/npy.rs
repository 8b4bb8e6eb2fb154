use super::rows;
use crate::data::npy::{NpyWriter, read};
use crate::data::{Kind, Layout, Rows, Source, Space};
use npyz::WriterBuilder;
use std::path::Path;

/// A file made by the crate `npyz`.
fn write<T: npyz::AutoSerialize + Copy>(
    path: &Path,
    shape: &[u64],
    order: npyz::Order,
    values: &[T],
) {
    let file = std::fs::File::create(path).unwrap();
    let builder = npyz::WriteOptions::new().default_dtype().shape(shape).order(order);
    let mut writer = builder.writer(file).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
}

fn read_written<T: npyz::AutoSerialize + Copy>(
    shape: &[u64],
    order: npyz::Order,
    values: &[T],
) -> (Space, Rows) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    write(&path, shape, order, values);
    read(&path).unwrap()
}

#[test]
fn all_types_are_read() {
    let expected = rows(3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    macro_rules! check {
        ($($type:ty),*) => {$(
            let values: Vec<$type> = (1..=6_u8).map(<$type>::from).collect();
            assert_eq!(read_written(&[2, 3], npyz::Order::C, &values).1, expected, stringify!($type));
        )*};
    }
    check!(f32, f64, u8, u16, u32, u64, i16, i32, i64);
    let small: Vec<i8> = vec![-1, 2, -128, 127];
    assert_eq!(read_written(&[4], npyz::Order::C, &small).1, rows(1, &[-1.0, 2.0, -128.0, 127.0]));
    let bits = read_written(&[2, 2], npyz::Order::C, &[true, false, false, true]).1;
    assert_eq!(bits, rows(2, &[1.0, 0.0, 0.0, 1.0]));
    let negative = read_written(&[2], npyz::Order::C, &[-16_777_216_i64, 16_777_216]).1;
    assert_eq!(negative.values(), [-16_777_216.0, 16_777_216.0]);
}

#[test]
fn bytes_of_numpy_are_read() {
    // np.save of np.array([[1.5, -2], [3, 4]], '>f8'), of the same in Fortran order, and of '=f4'.
    let big: Vec<u8> = [1.5_f64, -2.0, 3.0, 4.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    let fortran: Vec<u8> = [1.5_f64, 3.0, -2.0, 4.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    let single: Vec<u8> = [1.5_f32, -2.0, 3.0, 4.0].iter().flat_map(|v| v.to_ne_bytes()).collect();
    let dir = tempfile::tempdir().unwrap();
    for (descr, order, values) in
        [(">f8", "False", &big), (">f8", "True", &fortran), ("=f4", "False", &single)]
    {
        for version in [1_u8, 2, 3] {
            let header = format!(
                "{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (2, 2), }}          \n"
            );
            let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
            let length = (header.len() as u32).to_le_bytes();
            bytes.extend(&length[..if version == 1 { 2 } else { 4 }]);
            bytes.extend(header.as_bytes());
            bytes.extend(values);
            let path = dir.path().join("a.npy");
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap().1, rows(2, &[1.5, -2.0, 3.0, 4.0]), "{descr} {order}");
        }
    }
}

#[test]
fn shapes_say_what_rows_are() {
    let bytes: Vec<u8> = (0..24).collect();
    let (space, values) = read_written(&[2, 3, 2, 2], npyz::Order::C, &bytes);
    assert_eq!(space.layout(), Layout::Image { channels: 3, height: 2, width: 2 });
    assert_eq!(space.coordinate(0).kind, Kind::Quantised { low: Some(0), high: Some(255) });
    assert_eq!(values.row(1)[0], 12.0);
    let floats: Vec<f32> = (0..24).map(|v| v as f32).collect();
    let (space, _) = read_written(&[6, 2, 2], npyz::Order::C, &floats);
    assert_eq!(space.layout(), Layout::Image { channels: 1, height: 2, width: 2 });
    assert_eq!((space.coordinates().len(), &space.coordinate(0).kind), (1, &Kind::Real));
    let (space, _) = read_written(&[1, 2, 3, 2, 2], npyz::Order::C, &floats);
    assert_eq!(space.layout(), Layout::Vector { width: 24 });
    let (space, _) = read_written(&[2, 2, 2], npyz::Order::C, &[true; 8]);
    assert_eq!(space.coordinate(0).kind, Kind::Quantised { low: Some(0), high: Some(1) });
}

#[test]
fn channels_of_floats_may_come_last_and_the_order_is_spoken_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let load = |shape: &[u64]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|v: u64| v as f32).collect();
        write(&path, shape, npyz::Order::C, &values);
        let source = Source { held_out: Some(0.0), ..Source::named(path.to_str().unwrap()) };
        let data = source.load().unwrap();
        (data.space.layout(), data.train.rows().row(0).to_vec(), data.notes.join("\n"))
    };
    let image = |channels, height, width| Layout::Image { channels, height, width };
    let (layout, row, note) = load(&[2, 6, 8, 3]);
    assert_eq!(layout, image(3, 6, 8));
    assert_eq!((row[0], row[1], row[48], row[143]), (0.0, 3.0, 1.0, 143.0));
    assert!(note.contains("height × width × channels: 3 channels of 6×8 pixels"), "{note}");
    let (layout, row, note) = load(&[2, 3, 6, 8]);
    assert_eq!((layout, row[1], note.as_str()), (image(3, 6, 8), 1.0, ""));
    // Four rows of pixels, or four channels.
    let (layout, _, note) = load(&[2, 4, 4, 3]);
    assert_eq!(layout, image(4, 4, 3));
    assert!(note.contains("channels × height × width: 4 channels of 4×3 pixels"), "{note}");
}

#[test]
fn fortran_order_is_undone() {
    // Value 100 i + 10 j + k at [i, j, k], stored with i fastest.
    let shape = [2, 3, 4];
    let mut stored = Vec::new();
    for k in 0..4 {
        for j in 0..3 {
            for i in 0..2 {
                stored.push((100 * i + 10 * j + k) as f64);
            }
        }
    }
    let (_, values) = read_written(&shape, npyz::Order::Fortran, &stored);
    for i in 0..2 {
        for j in 0..3 {
            for k in 0..4 {
                assert_eq!(values.row(i)[4 * j + k], (100 * i + 10 * j + k) as f32);
            }
        }
    }
}

#[test]
fn npyz_reads_what_is_written() {
    for (layout, shape) in [
        (Layout::Vector { width: 6 }, vec![5, 6]),
        (Layout::Image { channels: 1, height: 2, width: 3 }, vec![5, 1, 2, 3]),
    ] {
        let all = Rows::new((0..30).map(|v| v as f32 * 0.1).collect(), 6).unwrap();
        let mut out = NpyWriter::new(Vec::new(), "out.npy", 5, layout).unwrap();
        out.write(&all.slice(0..2)).unwrap();
        out.write(&all.slice(2..5)).unwrap();
        let bytes = out.finish().unwrap();
        assert_eq!((bytes.len() - 4 * 30) % 64, 0);
        let array = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(array.shape(), shape);
        assert_eq!(array.into_vec::<f32>().unwrap(), all.values());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.npy");
        std::fs::write(&path, &bytes).unwrap();
        let (space, again) = read(&path).unwrap();
        assert_eq!((space.layout(), again), (layout, all));
    }
}

#[test]
fn the_announced_number_of_rows_is_kept() {
    let layout = Layout::Vector { width: 1 };
    let mut out = NpyWriter::new(Vec::new(), "out.npy", 2, layout).unwrap();
    assert!(out.write(&rows(2, &[0.0, 0.0])).is_err());
    assert!(out.write(&rows(1, &[0.0; 3])).is_err());
    out.write(&rows(1, &[0.0])).unwrap();
    let error = out.finish().unwrap_err().to_string();
    assert!(error.contains("1 too few"), "{error}");
}
