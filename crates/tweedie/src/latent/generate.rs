//! Rows drawn from a latent-variable model, and given the posterior of other rows.

use super::{LatentVariable, Prior};
use crate::data::{Condition, Generate, Rows};
use crate::nn::conditional::Random;
use crate::tensor::addresses;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// The most rows that the shares of levels are counted in.
const MOST_COUNTED: usize = 10_000;

impl LatentVariable {
    /// The model before training on `count` rows, which `rows` gives in model units by their number: the decoder's last
    /// bias gives integers and names the shares that they have in the rows, and pseudo-inputs are rows.
    ///
    /// # Errors
    /// [`Error::Config`] for more pseudo-inputs than rows; errors of `rows`.
    pub fn start(mut self, count: usize, rows: &dyn Fn(&[usize]) -> Result<Rows>) -> Result<Self> {
        let mut order = Draws::new(0).purpose("marginals").permutation(count);
        order.truncate(MOST_COUNTED);
        let marginals = self.product.marginals(&rows(&order)?);
        self.decoder = self.decoder.with_outputs(&marginals)?;
        self.prior = self.prior.start(count, rows)?;
        Ok(self)
    }

    /// Draws the latent variables of rows by their numbers from the prior: all layers, the lowest first,
    /// `[rows, dimensions]` each.
    ///
    /// # Errors
    /// Errors of the prior.
    pub fn latents(&self, rows: &[u64], draws: &Draws, device: &Device) -> Result<Vec<Tensor<2>>> {
        let noise = draws.purpose("z").normals_for(rows, self.latent_width()).to_tensor(device);
        let mut noise = self.by_layer(&noise);
        let uniforms = draws.purpose("component").uniforms_for(rows, 1);
        let encode = self.encode();
        let top = noise.len() - 1;
        let top = self.prior.draw(noise.swap_remove(top), uniforms.values(), &encode)?;
        match &self.ladder {
            None => Ok(vec![top]),
            Some(ladder) => ladder.generate(top, noise.len(), &noise),
        }
    }

    /// All layers, the lowest first, those below layer `from` drawn anew given it and the layers above are kept; with
    /// the random numbers of `rows`.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `from` is the number of a layer.
    pub fn redraw(
        &self,
        layers: &[Tensor<2>],
        from: usize,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<Vec<Tensor<2>>> {
        let (Some(ladder), Some(above)) = (&self.ladder, layers.get(from)) else {
            let expected = format!("a layer below {}", self.layers().len());
            return Err(Error::shape("layer to draw below", from, expected));
        };
        let noise = draws.purpose("z").normals_for(rows, self.latent_width());
        let noise = self.by_layer(&noise.to_tensor(&above.device()));
        let mut all = ladder.generate(above.clone(), from, &noise)?;
        all.extend(layers[from + 1..].iter().cloned());
        Ok(all)
    }

    /// Draws a row for the latent variables of each row, all layers, the lowest first; with the random numbers of
    /// `rows`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit; [`Error::Diverged`] for a distribution that is not finite.
    pub fn decode(
        &self,
        layers: Vec<Tensor<2>>,
        condition: &Condition,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<Tensor<2>> {
        self.draw(self.seen(layers), condition, draws, rows)
    }

    /// Draws a row for each latent variable in `z`, `[n, width]`, with the random numbers of `rows`.
    fn draw(
        &self,
        z: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<Tensor<2>> {
        let device = z.device();
        let parameters = Rows::from_tensor(&self.decoded(z, condition)?.value)?;
        let count = self.product.parameters().len();
        let uniforms = draws.purpose("uniforms").uniforms_for(rows, 2 * count);
        let normals = draws.purpose("normals").normals_for(rows, count);
        let d = self.product.places().len();
        let mut all = Rows::new(vec![0.0; rows.len() * d], d)?;
        for (i, row) in all.values_mut().chunks_exact_mut(d).enumerate() {
            let of = parameters.row(i);
            if of.iter().any(|v| !v.is_finite()) {
                let what = format!("the distribution of row {}", rows[i]);
                return Err(Error::Diverged { what, step: 0 });
            }
            let random = |j: usize| {
                let [choice, uniform] = [0, 1].map(|k| uniforms.row(i)[2 * j + k]);
                Random { choice, uniform, normal: normals.row(i)[j] }
            };
            self.product.draw(of, random, row);
        }
        Ok(all.to_tensor(&device))
    }

    /// Draws a row from the decoder for a draw from the posterior of each row of `x`, `[n, width]`. Equal rows have
    /// equal draws.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit; [`Error::Diverged`] for a distribution that is not finite.
    pub fn reconstruct(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let (rows, device, kind) = (addresses(&x)?, x.device(), x.dtype());
        if self.is_implicit() || self.refinement.is_some() || self.auxiliary.is_some() {
            let z = self.draw_posterior(&x, condition, 1, draws)?;
            return self.draw(z, condition, draws, &rows);
        }
        let noise = draws.purpose("z").normals_for(&rows, self.latent_width()).to_tensor(&device);
        let (z, _) = self.infer(&self.posterior(x, condition)?, 1, noise.cast(kind))?;
        self.draw(z, condition, draws, &rows)
    }
}

impl Generate for LatentVariable {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let numbers: Vec<u64> = rows.collect();
        condition.check(numbers.len())?;
        let layers = self.latents(&numbers, draws, device)?;
        self.decode(layers, condition, draws, &numbers)
    }

    fn name(&self) -> String {
        "latent-variable model".into()
    }
}
