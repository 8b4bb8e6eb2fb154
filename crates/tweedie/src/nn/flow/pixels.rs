//! Maps of a picture's channels that are alike at every pixel, and the squeeze of pictures.

use super::{PermutationConfig, Place};
use crate::tensor::Dual;
use crate::{Error, Result};

/// The number of columns that a map of channels sees at a place, and the number of pixels at which it is applied.
/// Without `channels` the map is of all columns, once.
pub(super) fn columns_and_pixels(place: &Place, channels: bool) -> (usize, usize) {
    match place.picture {
        Some([channels_of, height, width]) if channels => (channels_of, height * width),
        _ => (place.width, 1),
    }
}

/// Fails unless rows are pictures where a map is of their channels.
pub(super) fn fits(place: &Place, channels: bool) -> Result<()> {
    match channels && place.picture.is_none() {
        true => Err(Error::config("channels", "true", "false: the rows are no pictures")),
        false => Ok(()),
    }
}

/// The channels of all pixels below each other, `[n · pixels, channels]`, of pictures channel by channel.
pub(super) fn unfold(x: Dual<2>, pixels: usize) -> Result<Dual<2>> {
    let [n, d] = x.dims();
    if pixels == 1 {
        return Ok(x);
    }
    if !d.is_multiple_of(pixels) {
        let expected = format!("n × a multiple of {pixels}");
        return Err(Error::shape("batch", format!("{n} × {d}"), expected));
    }
    let channels = d / pixels;
    Ok(x.reshape([n, channels, pixels]).swap_dims(1, 2).reshape([n * pixels, channels]))
}

/// The pictures whose channels are below each other; see [`unfold`].
pub(super) fn fold(x: Dual<2>, pixels: usize) -> Dual<2> {
    let [rows, channels] = x.dims();
    if pixels == 1 {
        return x;
    }
    let n = rows / pixels;
    x.reshape([n, pixels, channels]).swap_dims(1, 2).reshape([n, channels * pixels])
}

/// A map with its log-determinant, `[n, 1]`, applied at every pixel of pictures.
pub(super) fn per_pixel(
    x: Dual<2>,
    pixels: usize,
    map: impl FnOnce(Dual<2>) -> Result<(Dual<2>, Dual<2>)>,
) -> Result<(Dual<2>, Dual<2>)> {
    let [n, _] = x.dims();
    let (z, log_det) = map(unfold(x, pixels)?)?;
    Ok((fold(z, pixels), log_det.reshape([n, pixels]).sum_dim(1)))
}

/// The order of columns that turns each 2 × 2 block of pixels into one pixel with four times the channels (Dinh,
/// Sohl-Dickstein & Bengio 2017, sec. 3.6).
pub(super) fn squeeze([channels, height, width]: [usize; 3]) -> PermutationConfig {
    let mut order = Vec::with_capacity(channels * height * width);
    for channel in 0..channels {
        for corner in 0..4 {
            for row in 0..height / 2 {
                for column in 0..width / 2 {
                    let (row, column) = (2 * row + corner / 2, 2 * column + corner % 2);
                    order.push((channel * height + row) * width + column);
                }
            }
        }
    }
    PermutationConfig { order: Some(order) }
}
