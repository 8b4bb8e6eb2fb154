//! Samples of autoregressive models, column by column.

use super::{Autoregressive, ColumnNetwork};
use crate::data::{Condition, Generate, Rows};
use crate::nn::conditional::Random;
use crate::tensor::{Dual, in_blocks};
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// The least and the most rows that are drawn together.
const BLOCK: [usize; 2] = [16, 256];

impl Autoregressive {
    /// The numbers of columns in the order of a member.
    fn order_by(&self, member: usize, count: usize) -> Vec<usize> {
        self.network.order(member).map_or_else(|| (0..count).collect(), <[usize]>::to_vec)
    }

    /// The member that draws row `row` of a sample.
    fn member(&self, row: u64, draws: &Draws) -> usize {
        draws.purpose("member").below(row, 0, self.network.members() as u64) as usize
    }

    /// The place in a row in model units of each value, in the order in which row `row` of a sample is drawn.
    pub fn order_of(&self, row: u64, draws: &Draws) -> Vec<usize> {
        let columns = self.product.columns();
        let order = self.order_by(self.member(row, draws), columns.len());
        order.into_iter().flat_map(|j| columns[j].places.iter().copied()).collect()
    }

    /// Draws the rows of a sample with numbers `rows` by a member; the values in model units, row by row.
    fn draw(
        &self,
        member: usize,
        rows: &[u64],
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Rows> {
        let (n, d, columns) = (rows.len(), self.product.places().len(), self.product.columns());
        let uniforms = draws.purpose("uniforms").uniforms_for(rows, 2 * columns.len());
        let normals = draws.purpose("normals").normals_for(rows, columns.len());
        let mut sequence = self.network.columns_by(member, condition, n, device)?;
        let mut all = Rows::new(vec![0.0; n * d], d)?;
        for (step, j) in self.order_by(member, columns.len()).into_iter().enumerate() {
            let column = columns[j];
            let (width, count) = (column.places.len(), column.parameters());
            let parameters = Rows::from_tensor(&sequence.next().value)?;
            let mut values = vec![0.0; n * width];
            for (i, value) in values.chunks_exact_mut(width).enumerate() {
                let of = parameters.row(i);
                let [choice, uniform] = [0, 1].map(|k| uniforms.row(i)[2 * j + k]);
                let random = Random { choice, uniform, normal: normals.row(i)[j] };
                if of.len() != count || of.iter().any(|v| !v.is_finite()) {
                    let what = format!("the distribution of column {j} in row {}", rows[i]);
                    return Err(Error::Diverged { what, step: step as u64 });
                }
                column.draw(of, random, value);
                let row = &mut all.values_mut()[i * d..][..d];
                column.places.iter().zip(&*value).for_each(|(place, v)| row[*place] = *v);
            }
            if step + 1 < columns.len() {
                let values = Dual::from(Rows::new(values, width)?.to_tensor(device));
                sequence.push(column.seen(values));
            }
        }
        Ok(all)
    }
}

impl Autoregressive {
    /// [`Autoregressive::draw`] on all threads.
    fn draw_in_blocks(
        &self,
        member: usize,
        rows: &[u64],
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        condition.check(rows.len())?;
        in_blocks(rows.len(), BLOCK, device, |part| {
            let condition = condition.slice(part.clone());
            Ok(self.draw(member, &rows[part], &condition, draws, device)?.to_tensor(device))
        })
    }
}

impl Generate for Autoregressive {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let numbers: Vec<u64> = rows.collect();
        if self.network.members() == 1 {
            return self.draw_in_blocks(0, &numbers, condition, draws, device);
        }
        let d = self.product.places().len();
        let mut all = Rows::new(vec![0.0; numbers.len() * d], d)?;
        let chosen: Vec<usize> = numbers.iter().map(|row| self.member(*row, draws)).collect();
        for member in 0..self.network.members() {
            let own: Vec<usize> = (0..chosen.len()).filter(|i| chosen[*i] == member).collect();
            if own.is_empty() {
                continue;
            }
            let rows: Vec<u64> = own.iter().map(|i| numbers[*i]).collect();
            let given = condition.select(&own);
            let drawn = self.draw_in_blocks(member, &rows, &given, draws, device)?;
            let drawn = Rows::from_tensor(&drawn)?;
            for (i, row) in own.iter().zip(drawn.iter()) {
                all.values_mut()[i * d..][..d].copy_from_slice(row);
            }
        }
        Ok(all.to_tensor(device))
    }

    fn name(&self) -> String {
        "autoregressive model".into()
    }
}
