use super::weighted;
use crate::data::{Layout, Source, shipped};

#[test]
fn emoji_are_as_recorded() {
    let emoji = shipped::emoji().unwrap();
    let layout = Layout::Image { channels: 3, height: 32, width: 32 };
    assert_eq!((emoji.train.len(), emoji.held_out.len()), (1611, 300));
    assert_eq!((emoji.space.layout(), emoji.space.classes().len()), (layout, 10));
    // Printed by bench/emoji_data.py: sums over all pictures and over those held out.
    let [train, held_out] = [&emoji.train, &emoji.held_out].map(|part| weighted(part.rows()));
    assert_eq!((train.0 + held_out.0, train.1 + held_out.1), (1_146_178_513, 1_697_114_733_574));
    assert_eq!(held_out, (179_040_928, 265_216_141_762));
    // And by category: how many there are, how many are held out, their mean colour.
    let expected = [
        ("Activities", 85, 13, [218.257939, 198.533904, 186.615188]),
        ("Animals & Nature", 159, 25, [221.011756, 209.298079, 192.356777]),
        ("Component", 5, 1, [190.966992, 155.755469, 127.858594]),
        ("Flags", 270, 42, [185.639026, 171.050568, 169.421155]),
        ("Food & Drink", 131, 21, [228.793975, 208.806395, 183.946871]),
        ("Objects", 264, 41, [211.805616, 207.187234, 200.171775]),
        ("People & Body", 386, 61, [209.661705, 198.780744, 176.670382]),
        ("Smileys & Emotion", 169, 27, [228.960296, 200.867026, 148.640769]),
        ("Symbols", 224, 35, [197.093981, 178.493461, 171.608638]),
        ("Travel & Places", 218, 34, [208.261266, 205.09371, 199.167162]),
    ];
    for (k, (name, count, held, colour)) in expected.into_iter().enumerate() {
        assert_eq!(emoji.space.classes()[k], name);
        let (mut found, mut sums) = ([0; 2], [0.0; 3]);
        for (part, split) in [&emoji.train, &emoji.held_out].into_iter().enumerate() {
            let labels = split.labels().unwrap();
            for (row, _) in split.rows().iter().zip(labels).filter(|(_, l)| **l as usize == k) {
                found[part] += 1;
                for (sum, channel) in sums.iter_mut().zip(row.chunks_exact(1024)) {
                    *sum += channel.iter().map(|&v| f64::from(v)).sum::<f64>();
                }
            }
        }
        assert_eq!((found[0] + found[1], found[1]), (count, held), "{name}");
        for (sum, mean) in sums.into_iter().zip(colour) {
            assert!((sum / f64::from(count * 1024) - mean).abs() < 1e-6, "{name}");
        }
    }
}

#[test]
fn labels_are_left_out_on_demand() {
    for name in ["emoji", "digits"] {
        let with = Source::named(name).load().unwrap();
        let source = Source { label: Some("none".into()), ..Source::named(name) };
        let without = source.load().unwrap();
        assert_eq!((without.train.labels(), without.held_out.labels()), (None, None));
        assert!(without.space.classes().is_empty() && !with.space.classes().is_empty());
        assert_eq!(without.held_out.rows(), with.held_out.rows());
    }
}
