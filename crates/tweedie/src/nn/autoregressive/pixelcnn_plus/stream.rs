//! A PixelCNN++ on pictures whose pixels come one after the other: u row by row, v pixel by pixel.

use super::{Block, Given, Level, PixelCnnPlus, both_signs, double, elu, parts};
use crate::Result;
use crate::nn::autoregressive::pixels::Pixels;
use crate::nn::conv::{at_pixels, gate};
use crate::nn::layers::project;
use crate::nn::{Conv2d, Linear};
use crate::tensor::Dual;
use burn::tensor::Tensor;

/// One pixel of a row, `[n, channels]`.
fn pixel(row: &Dual<4>, x: usize) -> Dual<2> {
    let [n, _, _, f] = row.dims();
    row.clone().linear(|row| row.narrow(2, x, 1)).reshape([n, f])
}

fn zeros_like<const D: usize>(x: &Dual<D>) -> Dual<D> {
    x.value.zeros_like().into()
}

/// A convolution of a row and the one above it, of rows that come one after the other.
struct RowConv<'a> {
    conv: &'a Conv2d,
    above: Option<Dual<4>>,
}

impl<'a> RowConv<'a> {
    fn new(conv: &'a Conv2d) -> Self {
        Self { conv, above: None }
    }

    /// The output at a row `[n, 1, width, channels]`.
    fn forward(&mut self, row: Dual<4>, features: Option<Dual<2>>) -> Dual<4> {
        let above = self.above.replace(row.clone()).unwrap_or_else(|| zeros_like(&row));
        // Below a row of zeros around them, the second output is of both rows; at stride 2 the row is the third.
        let mut strip = vec![above, row];
        if self.conv.stride == 2 {
            strip.insert(0, zeros_like(&strip[0]));
        }
        let y = self.conv.forward_plus(Dual::cat(strip, 1), features, None);
        y.linear(|y| y.narrow(1, 1, 1))
    }

    /// Adds a row at which there is no output.
    fn skip(&mut self, row: Dual<4>) {
        self.above = Some(row);
    }
}

/// A convolution of 2 × 2 pixels, of pixels that come one after the other.
struct PixelConv {
    /// The weight, `[out, 4 · in]`: above to the left, above, to the left, and the pixel itself.
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    /// The pixels of the row above, and the known ones of the present row.
    above: Vec<Dual<2>>,
    own: Vec<Dual<2>>,
    width: usize,
}

impl PixelConv {
    fn new(conv: &Conv2d, width: usize) -> Self {
        let weight = conv.weight.val();
        let [output, input, height, taps] = weight.dims();
        let weight = weight.permute([0, 2, 3, 1]).reshape([output, height * taps * input]);
        let bias = conv.bias.as_ref().map(|bias| bias.val());
        Self { weight, bias, above: Vec::new(), own: Vec::new(), width }
    }

    /// Adds a pixel `[n, channels]`.
    fn push(&mut self, pixel: Dual<2>) {
        if self.own.len() == self.width {
            self.above = std::mem::take(&mut self.own);
        }
        self.own.push(pixel);
    }

    /// The output at the last pixel.
    fn output(&self) -> Option<Dual<2>> {
        let x = self.own.len().checked_sub(1)?;
        let pixel = self.own.last()?;
        let tap = |row: &[Dual<2>], x: Option<usize>| {
            let found = x.and_then(|x| row.get(x)).cloned();
            found.unwrap_or_else(|| zeros_like(pixel))
        };
        let left = x.checked_sub(1);
        let taps = vec![
            tap(&self.above, left),
            tap(&self.above, Some(x)),
            tap(&self.own, left),
            pixel.clone(),
        ];
        Some(project(Dual::cat(taps, 1), self.weight.clone(), self.bias.clone()))
    }

    fn forward(&mut self, pixel: Dual<2>) -> Dual<2> {
        self.push(pixel.clone());
        self.output().unwrap_or(pixel)
    }
}

/// A block of u.
struct RowBlock<'a> {
    of: &'a Block,
    first: RowConv<'a>,
    second: RowConv<'a>,
    given: Option<Dual<2>>,
}

impl<'a> RowBlock<'a> {
    fn new(of: &'a Block, given: Given) -> Result<Self> {
        let (first, second) = (RowConv::new(&of.first), RowConv::new(&of.second));
        Ok(Self { of, first, second, given: given.of(of)? })
    }

    fn forward(&mut self, x: Dual<4>, short: Option<Dual<4>>) -> Dual<4> {
        let mut h = self.first.forward(both_signs(x.clone()), None);
        if let (Some(across), Some(short)) = (&self.of.across, short) {
            h = h + at_pixels(across, both_signs(short));
        }
        x + gate(self.second.forward(both_signs(h), self.given.clone()), None)
    }
}

/// A block of v.
struct PixelBlock<'a> {
    of: &'a Block,
    first: PixelConv,
    second: PixelConv,
    given: Option<Dual<2>>,
}

impl<'a> PixelBlock<'a> {
    fn new(of: &'a Block, width: usize, given: Given) -> Result<Self> {
        let conv = |conv: &Conv2d| PixelConv::new(conv, width);
        let (first, second) = (conv(&of.first), conv(&of.second));
        Ok(Self { of, first, second, given: given.of(of)? })
    }

    fn forward(&mut self, x: Dual<2>, short: Dual<2>) -> Dual<2> {
        let mut h = self.first.forward(both_signs(x.clone()));
        if let Some(across) = &self.of.across {
            h = h + across.forward(both_signs(short));
        }
        let mut y = self.second.forward(both_signs(h));
        if let Some(given) = &self.given {
            y = y + given.clone();
        }
        x + gate(y, None)
    }
}

/// The way to the coarser resolution and back.
struct Coarser<'a> {
    level: Box<LevelStream<'a>>,
    u_halve: RowConv<'a>,
    v_halve: PixelConv,
    u_double: &'a Linear,
    v_double: &'a Linear,
    /// u and v of the coarser resolution in the present row and the next, `[n, 2, width, channels]`.
    u: Option<Dual<4>>,
    v: Vec<Dual<4>>,
}

/// Both stacks at a resolution.
struct LevelStream<'a> {
    u: Vec<RowBlock<'a>>,
    v: Vec<PixelBlock<'a>>,
    u_back: Vec<RowBlock<'a>>,
    v_back: Vec<PixelBlock<'a>>,
    coarser: Option<Coarser<'a>>,
    /// u after each block in the present row, there and back.
    there: Vec<Dual<4>>,
    back: Vec<Dual<4>>,
    width: usize,
    /// The next row of u, and the next pixel of v.
    next: usize,
    at: [usize; 2],
}

impl<'a> LevelStream<'a> {
    fn new(levels: &'a [Level], width: usize, given: Given) -> Result<Option<Self>> {
        let Some((of, rest)) = levels.split_first() else { return Ok(None) };
        let rows = |blocks: &'a [Block]| -> Result<Vec<RowBlock<'a>>> {
            blocks.iter().map(|block| RowBlock::new(block, given)).collect()
        };
        let pixels = |blocks: &'a [Block]| -> Result<Vec<PixelBlock<'a>>> {
            blocks.iter().map(|block| PixelBlock::new(block, width, given)).collect()
        };
        let level = Self::new(rest, width.div_ceil(2), given)?;
        let convs = of.u_halve.as_ref().zip(of.v_halve.as_ref());
        let linears = of.u_double.as_ref().zip(of.v_double.as_ref());
        let coarser = level.zip(convs).zip(linears).map(|((level, convs), linears)| Coarser {
            level: Box::new(level),
            u_halve: RowConv::new(convs.0),
            v_halve: PixelConv::new(convs.1, width),
            u_double: linears.0,
            v_double: linears.1,
            u: None,
            v: Vec::new(),
        });
        Ok(Some(Self {
            u: rows(&of.u)?,
            v: pixels(&of.v)?,
            u_back: rows(&of.u_back)?,
            v_back: pixels(&of.v_back)?,
            coarser,
            there: Vec::new(),
            back: Vec::new(),
            width,
            next: 0,
            at: [0, 0],
        }))
    }

    /// u after all blocks at its next row, from the row before them.
    fn row(&mut self, mut u: Dual<4>) -> Dual<4> {
        let (y, width) = (self.next, self.width);
        self.next += 1;
        let mut kept = Vec::new();
        self.there.clear();
        for block in &mut self.u {
            kept.push(u.clone());
            u = block.forward(u, None);
            self.there.push(u.clone());
        }
        if let Some(coarser) = &mut self.coarser {
            kept.push(u.clone());
            u = coarser.row(u, y, width);
        }
        self.back.clear();
        for block in &mut self.u_back {
            u = block.forward(u, kept.pop());
            self.back.push(u.clone());
        }
        u
    }

    /// v after all blocks at its next pixel, from the pixel before them.
    fn pixel(&mut self, mut v: Dual<2>) -> Dual<2> {
        let [y, x] = self.at;
        let mut kept = Vec::new();
        for (block, u) in self.v.iter_mut().zip(&self.there) {
            kept.push(v.clone());
            v = block.forward(v, pixel(u, x));
        }
        if let Some(coarser) = &mut self.coarser {
            kept.push(v.clone());
            v = coarser.pixel(v, [y, x]);
        }
        for (block, u) in self.v_back.iter_mut().zip(&self.back) {
            let Some(own) = kept.pop() else { break };
            v = block.forward(v, pixel(u, x).join(own));
        }
        self.at = if x + 1 == self.width { [y + 1, 0] } else { [y, x + 1] };
        v
    }
}

impl Coarser<'_> {
    fn row(&mut self, u: Dual<4>, y: usize, width: usize) -> Dual<4> {
        if y.is_multiple_of(2) {
            let coarse = self.level.row(self.u_halve.forward(u.clone(), None));
            self.u = Some(double(self.u_double, coarse, [2, width]));
        } else {
            self.u_halve.skip(u.clone());
        }
        self.u.clone().map_or(u, |all| all.linear(|all| all.narrow(1, y % 2, 1)))
    }

    fn pixel(&mut self, v: Dual<2>, [y, x]: [usize; 2]) -> Dual<2> {
        self.v_halve.push(v.clone());
        if y.is_multiple_of(2) && x.is_multiple_of(2) {
            if x == 0 {
                self.v.clear();
            }
            let coarse = self.level.pixel(self.v_halve.output().unwrap_or_else(|| v.clone()));
            let [n, f] = coarse.dims();
            self.v.push(double(self.v_double, coarse.reshape([n, 1, 1, f]), [2, 2]));
        }
        let Some(all) = self.v.get(x / 2) else { return v };
        pixel(&all.clone().linear(|all| all.narrow(1, y % 2, 1)), x % 2)
    }
}

/// Both stacks on a picture.
pub(super) struct Stacks<'a> {
    of: &'a PixelCnnPlus,
    rows: RowConv<'a>,
    left: PixelConv,
    level: Option<LevelStream<'a>>,
    /// v's part from the row above.
    above: Option<Dual<4>>,
    /// The row before the present one, `[n, 1, width, channels]`, zeros at first, and the known pixels of the present.
    before: Dual<4>,
    picture: Vec<Dual<2>>,
}

impl<'a> Stacks<'a> {
    pub(super) fn new(of: &'a PixelCnnPlus, given: Given) -> Result<Self> {
        let [channels, _, width] = of.sizes;
        let kind = (given.device, crate::nn::dtype_of(of));
        Ok(Self {
            of,
            rows: RowConv::new(&of.rows),
            left: PixelConv::new(&of.left, width),
            level: LevelStream::new(&of.levels, width, given)?,
            above: None,
            before: Tensor::zeros([given.n, 1, width, channels], kind).into(),
            picture: Vec::new(),
        })
    }

    /// Computes u in the present row.
    fn begin_row(&mut self) {
        let [n, _, width, channels] = self.before.dims();
        if !self.picture.is_empty() {
            let row = Dual::cat(std::mem::take(&mut self.picture), 1);
            self.before = row.reshape([n, 1, width, channels]);
        }
        let above = self.of.above.forward(self.before.clone());
        self.above = Some(above.linear(|above| above.narrow(1, 1, 1)));
        let u = self.rows.forward(self.before.clone(), None);
        if let Some(level) = &mut self.level {
            level.row(u);
        }
    }
}

impl Pixels for Stacks<'_> {
    fn features(&mut self) -> Dual<2> {
        let [_, _, width, _] = self.before.dims();
        if self.above.is_none() || self.picture.len() == width {
            self.begin_row();
        }
        let x = self.picture.len();
        // The pixels to the left: of the row above, and of the present one.
        let left =
            |row: Option<Dual<2>>| row.unwrap_or_else(|| zeros_like(&pixel(&self.before, 0)));
        let taps = [x.checked_sub(1).map(|x| pixel(&self.before, x)), self.picture.last().cloned()];
        let taps = Dual::cat(taps.map(left).to_vec(), 1);
        let mut v = project(taps, self.left.weight.clone(), self.left.bias.clone());
        if let Some(above) = &self.above {
            v = v + pixel(above, x);
        }
        if let Some(level) = &mut self.level {
            v = level.pixel(v);
        }
        self.of.features.forward(elu(parts(v)))
    }

    fn push(&mut self, pixel: Dual<2>) {
        self.picture.push(pixel);
    }
}
