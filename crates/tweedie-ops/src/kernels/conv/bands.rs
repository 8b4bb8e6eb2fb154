//! Bands of pictures, for parallel work.

/// Some rows of some pictures: whole pictures if there are several.
pub(super) struct Band {
    pub(super) pictures: std::ops::Range<usize>,
    pub(super) y: std::ops::Range<usize>,
}

impl Band {
    /// (picture, row) in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pictures.clone().flat_map(|picture| self.y.clone().map(move |y| (picture, y)))
    }
}

/// The division of pictures for parallel work: small pictures together, large ones in bands of rows.
pub(super) struct Bands {
    count: usize,
    height: usize,
    /// Pictures of a band.
    together: usize,
    /// Bands of a picture.
    cuts: usize,
}

impl Bands {
    /// About 32 bands in all, of 128 to 1,024 pixels.
    pub(super) fn new(count: usize, size: [usize; 2]) -> Self {
        Self::of(count, size, 32, 128)
    }

    /// About `bands` bands in all, of `least` to 8 · `least` pixels.
    pub(super) fn of(
        count: usize,
        [height, width]: [usize; 2],
        bands: usize,
        least: usize,
    ) -> Self {
        let pixels = height * width;
        if pixels == 0 || count == 0 {
            return Self { count: 0, height, together: 1, cuts: 1 };
        }
        let target = (count * pixels / bands).clamp(least, 8 * least);
        let together = (target / pixels).clamp(1, count);
        let cuts = (pixels / target).clamp(1, height);
        Self { count, height, together, cuts }
    }

    pub(super) fn len(&self) -> usize {
        self.count.div_ceil(self.together) * self.cuts
    }

    /// Calls `work` on each band, in parallel if there are several.
    pub(super) fn each(&self, work: impl Fn(Band) + Sync) {
        crate::kernels::each(self.len() > 1, 0..self.len(), |k| work(self.get(k)));
    }

    pub(super) fn get(&self, k: usize) -> Band {
        let (group, cut) = (k / self.cuts, k % self.cuts);
        let pictures = group * self.together..((group + 1) * self.together).min(self.count);
        Band { pictures, y: cut * self.height / self.cuts..(cut + 1) * self.height / self.cuts }
    }
}
