//! Geometric augmentation of pictures, with a description of each change as an input of the network.
//!
//! A picture is mirrored, turned, scaled, stretched and shifted, each with a probability p of its own, and the network
//! takes the numbers of the changes beside the noise level (Karras et al. 2022, *Elucidating the Design Space of
//! Diffusion-Based Generative Models*, app. F.2). Where they are 0 the network models pictures as they are, so that
//! changes do not leak into samples. Changed pictures are resampled by Catmull–Rom splines, mirrored at their edges.

use super::{Layout, Rows};
use crate::Result;
use crate::draws::Draws;
use crate::error::within;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The augmentation of pictures in training.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::data::{Augmentation, Layout, Rows};
/// let layout = Layout::Image { channels: 1, height: 8, width: 8 };
/// let mut pictures = Rows::new(vec![0.5; 10 * 64], 64)?;
/// let numbers = Augmentation::default().apply(&mut pictures, layout, &Draws::new(0))?;
/// assert_eq!((numbers.len(), numbers.width()), (10, Augmentation::NUMBERS));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// The probability of each kind of change.
    pub probability: f64,
    /// Whether pictures are mirrored left to right.
    pub mirror: bool,
    /// The largest angle by which a picture is turned, in degrees; all angles up to it are as likely.
    pub rotation: f64,
    /// The standard deviation of log₂ of the scale.
    pub scale: f64,
    /// The standard deviation of log₂ of the stretch along a random axis, with the inverse across it.
    pub stretch: f64,
    /// The standard deviation of the shift, as a share of the picture's width or height.
    pub shift: f64,
}

impl Default for Augmentation {
    /// The values of Karras et al. (2022), table 6, without upside-down mirroring.
    fn default() -> Self {
        let (probability, mirror, rotation) = (0.12, true, 180.0);
        Self { probability, mirror, rotation, scale: 0.2, stretch: 0.2, shift: 0.125 }
    }
}

/// A change of a picture: the source of the pixel at c + v is c + `inverse` (v − `shift`), with c the centre.
struct Change {
    inverse: [[f64; 2]; 2],
    shift: [f64; 2],
}

impl Augmentation {
    /// The length of the description of a change.
    pub const NUMBERS: usize = 8;

    /// Fails, naming the key, unless every number is in its range.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    pub fn check(&self) -> Result<()> {
        within("probability", self.probability, 0.0, 1.0)?;
        within("rotation", self.rotation, 0.0, 180.0)?;
        within("scale", self.scale, 0.0, 2.0)?;
        within("stretch", self.stretch, 0.0, 2.0)?;
        within("shift", self.shift, 0.0, 1.0)
    }

    /// Changes pictures of `layout` in model units; row i uses the random numbers of row i of `draws`. Gives the
    /// description of each change, `[n, 8]`, 0 where there is none. Rows that are no pictures stay as they are.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the numbers form no rows, which does not happen for pictures.
    pub fn apply(&self, pictures: &mut Rows, layout: Layout, draws: &Draws) -> Result<Rows> {
        let mut numbers = vec![0.0; pictures.len() * Self::NUMBERS];
        if let Layout::Image { height, width, .. } = layout {
            let (size, each) = ([height, width], pictures.width());
            let rows = pictures.values_mut().chunks_exact_mut(each);
            for ((i, picture), own) in (0..).zip(rows).zip(numbers.chunks_exact_mut(Self::NUMBERS))
            {
                if let Some((change, description)) = self.draw(size, draws, i) {
                    picture.chunks_exact_mut(height * width).for_each(|c| change.of(c, size));
                    own.copy_from_slice(&description);
                }
            }
        }
        Rows::new(numbers, Self::NUMBERS)
    }

    /// The change of row `row` and its description; none if nothing changes.
    fn draw(
        &self,
        [height, width]: [usize; 2],
        draws: &Draws,
        row: u64,
    ) -> Option<(Change, [f32; Self::NUMBERS])> {
        let acts = |kind: u64, on: bool| on && draws.uniform_f64(row, kind) < self.probability;
        let normal = |k: u64| draws.purpose("amount").normal_f64(row, k);
        let angle = |k: u64, most: f64| (2.0 * draws.uniform_f64(row, k) - 1.0) * most;
        let mirror = acts(0, self.mirror) && draws.uniform_f64(row, 8) < 0.5;
        let scale = if acts(1, self.scale > 0.0) { normal(0) } else { 0.0 };
        let turned = acts(2, self.rotation > 0.0);
        let turn = if turned { angle(9, self.rotation * PI / 180.0) } else { 0.0 };
        let (stretch, axis) = match acts(3, self.stretch > 0.0) {
            true => (normal(1), angle(10, PI)),
            false => (0.0, 0.0),
        };
        let shift = if acts(4, self.shift > 0.0) { [normal(2), normal(3)] } else { [0.0, 0.0] };
        let description = [
            if mirror { 1.0 } else { 0.0 },
            scale,
            turn.cos() - 1.0,
            turn.sin(),
            stretch * axis.cos(),
            stretch * axis.sin(),
            shift[0],
            shift[1],
        ];
        if description == [0.0; Self::NUMBERS] {
            return None;
        }
        let rotation = |a: f64| [[a.cos(), -a.sin()], [a.sin(), a.cos()]];
        let diagonal = |x: f64, y: f64| [[x, 0.0], [0.0, y]];
        let factor = (-self.scale * scale).exp2();
        let longer = (-self.stretch * stretch).exp2();
        // The inverses of mirroring, scaling, turning and stretching, the last change first.
        let steps = [
            diagonal(if mirror { -factor } else { factor }, factor),
            rotation(-turn),
            rotation(axis),
            diagonal(longer, 1.0 / longer),
            rotation(-axis),
        ];
        let inverse = steps.into_iter().fold(diagonal(1.0, 1.0), product);
        let shift = [shift[0] * self.shift * width as f64, shift[1] * self.shift * height as f64];
        Some((Change { inverse, shift }, description.map(|v| v as f32)))
    }
}

fn product(a: [[f64; 2]; 2], b: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    let entry = |i: usize, j: usize| a[i][0] * b[0][j] + a[i][1] * b[1][j];
    [[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]]
}

impl Change {
    /// Changes one channel of a picture; values stay within its range.
    fn of(&self, pixels: &mut [f32], [height, width]: [usize; 2]) {
        let source = pixels.to_vec();
        let (low, high) = source
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let centre = [0.5 * (width as f64 - 1.0), 0.5 * (height as f64 - 1.0)];
        let [[a, b], [c, d]] = self.inverse;
        for (k, pixel) in pixels.iter_mut().enumerate() {
            let x = (k % width) as f64 - centre[0] - self.shift[0];
            let y = (k / width) as f64 - centre[1] - self.shift[1];
            let [columns, rows] =
                [taps(a * x + b * y + centre[0], width), taps(c * x + d * y + centre[1], height)];
            let line = |row: usize| -> f64 {
                columns.iter().map(|(j, w)| w * f64::from(source[row * width + j])).sum()
            };
            let value: f64 = rows.iter().map(|(row, weight)| weight * line(*row)).sum();
            *pixel = (value as f32).clamp(low, high);
        }
    }
}

/// The four pixels around a position on an axis of `size` pixels mirrored at its edges, with their Catmull–Rom weights.
fn taps(at: f64, size: usize) -> [(usize, f64); 4] {
    let (first, t) = (at.floor(), at - at.floor());
    let weights = [
        0.5 * t * (t * (2.0 - t) - 1.0),
        0.5 * (t * t * (3.0 * t - 5.0) + 2.0),
        0.5 * t * (t * (4.0 - 3.0 * t) + 1.0),
        0.5 * t * t * (t - 1.0),
    ];
    std::array::from_fn(|k| (mirrored(first as i64 + k as i64 - 1, size as i64), weights[k]))
}

/// The place of a pixel beyond the edges, half a pixel outside the outermost centres.
fn mirrored(at: i64, size: i64) -> usize {
    let place = at.rem_euclid(2 * size);
    place.min(2 * size - 1 - place) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Augmentation = Augmentation {
        probability: 1.0,
        mirror: false,
        rotation: 0.0,
        scale: 0.0,
        stretch: 0.0,
        shift: 0.0,
    };

    /// A Gaussian hill on 32 × 32 pixels: log height −½ (v − m)ᵀ P (v − m) at v from the centre.
    fn hill(mean: [f64; 2], precision: [[f64; 2]; 2]) -> Vec<f32> {
        let value = |k: usize| {
            let v = [(k % 32) as f64 - 15.5 - mean[0], (k / 32) as f64 - 15.5 - mean[1]];
            let [[a, b], [c, d]] = precision;
            (-0.5 * (v[0] * (a * v[0] + b * v[1]) + v[1] * (c * v[0] + d * v[1]))).exp() as f32
        };
        (0..1024).map(value).collect()
    }

    fn transposed([[a, b], [c, d]]: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
        [[a, c], [b, d]]
    }

    #[test]
    fn a_hill_moves_as_its_mean_and_covariance_do() {
        let layout = Layout::Image { channels: 1, height: 32, width: 32 };
        let (mean, precision) = ([1.5, -2.0], [[0.06, 0.015], [0.015, 0.035]]);
        let kinds = [
            Augmentation { mirror: true, ..NONE },
            Augmentation { rotation: 180.0, ..NONE },
            Augmentation { scale: 0.2, ..NONE },
            Augmentation { stretch: 0.2, ..NONE },
            Augmentation { shift: 0.05, ..NONE },
            Augmentation { mirror: true, rotation: 90.0, scale: 0.2, stretch: 0.2, ..NONE },
        ];
        for (k, of) in kinds.into_iter().enumerate() {
            let draws = Draws::new(k as u64);
            let mut rows = Rows::new(hill(mean, precision).repeat(20), 1024).unwrap();
            let numbers = of.apply(&mut rows, layout, &draws).unwrap();
            for i in 0..20 {
                let Some((change, description)) = of.draw([32, 32], &draws, i as u64) else {
                    assert_eq!(numbers.row(i), [0.0; 8], "{k} {i}");
                    assert_eq!(rows.row(i), hill(mean, precision), "{k} {i}");
                    continue;
                };
                assert_eq!(numbers.row(i), description);
                // x ↦ A x + s with B = A⁻¹ takes N(m, P⁻¹) to N(A m + s, (Bᵀ P B)⁻¹).
                let [[a, b], [c, d]] = change.inverse;
                let det = a * d - b * c;
                let moved = [
                    (d * mean[0] - b * mean[1]) / det + change.shift[0],
                    (a * mean[1] - c * mean[0]) / det + change.shift[1],
                ];
                let through =
                    product(product(transposed(change.inverse), precision), change.inverse);
                let expected = hill(moved, through);
                // Beyond the edges of the source lie its mirror images.
                let inside = |j: &usize| {
                    let [x, y] = [j % 32, j / 32].map(|at| at as f64 - 15.5);
                    let [x, y] = [x - change.shift[0], y - change.shift[1]];
                    [a * x + b * y, c * x + d * y].iter().all(|at| at.abs() < 14.0)
                };
                assert!((0..1024).filter(inside).count() > 100, "{k} {i}");
                let pairs = rows.row(i).iter().zip(&expected).enumerate();
                let worst = pairs.filter(|(j, _)| inside(j)).map(|(_, (x, y))| (x - y).abs());
                let worst = worst.fold(0.0, f32::max);
                assert!(worst < 0.012, "{k} {i}: {worst} {description:?}");
            }
        }
    }

    #[test]
    fn a_mirrored_picture_is_exact_and_changes_have_their_probability() {
        let layout = Layout::Image { channels: 3, height: 2, width: 3 };
        let picture: Vec<f32> = (0..18u8).map(|v| f32::from(v) / 9.0 - 1.0).collect();
        let mut mirrored = picture.clone();
        mirrored.chunks_exact_mut(3).for_each(<[f32]>::reverse);
        let n = 4000;
        let mut rows = Rows::new(picture.repeat(n), 18).unwrap();
        let of = Augmentation { mirror: true, probability: 0.6, ..NONE };
        let numbers = of.apply(&mut rows, layout, &Draws::new(5)).unwrap();
        for i in 0..n {
            let expected = if numbers.row(i)[0] == 1.0 { &mirrored } else { &picture };
            assert_eq!(rows.row(i), expected);
        }
        let share = numbers.iter().filter(|row| row[0] == 1.0).count() as f64 / n as f64;
        assert!((share - 0.3).abs() < 4.9 * (0.3 * 0.7 / n as f64).sqrt(), "{share}");
        let of = Augmentation { probability: 0.2, ..Augmentation::default() };
        let numbers = of.apply(&mut rows, layout, &Draws::new(6)).unwrap();
        // Mirroring acts on half of its share.
        let unchanged = 0.9 * 0.8f64.powi(4);
        let share = numbers.iter().filter(|row| **row == [0.0; 8]).count() as f64 / n as f64;
        let error = (unchanged * (1.0 - unchanged) / n as f64).sqrt();
        assert!((share - unchanged).abs() < 4.9 * error, "{share} {unchanged}");
    }
}
