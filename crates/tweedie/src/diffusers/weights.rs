//! Weights in the folder of a checkpoint: safetensors or files of PyTorch, in any floating-point type.

use crate::nn::{Params, array, load_safetensors, singles};
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use pytorch_reader::PytorchReader;
use std::path::{Path, PathBuf};

/// Names of the files of weights by diffusers and its scripts, the preferred first.
const NAMES: [&str; 6] = [
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "diffusion_pytorch_model.pt",
    "model.pt",
];

/// Names of the parts of attention in older checkpoints.
const OLD_NAMES: [(&str, &str); 4] = [
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
];

/// Loads the weights in the folder of a network, under their present names; also gives the path of their file.
///
/// # Errors
/// [`Error::File`] if there is no file of weights in the folder, or it is damaged.
pub(super) fn load(folder: &Path) -> Result<(Params, PathBuf)> {
    let found = NAMES.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let Some(path) = found else {
        let expected = format!("one of {}", NAMES.join(", "));
        return Err(Error::file(folder, "weights", "missing", expected));
    };
    let params = match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => load_safetensors(&path)?,
        _ => load_pytorch(&path)?,
    };
    let params = singles(params, &path)?.into_iter().map(|(name, data)| {
        let is_linear = name.contains("attentions.") && name.ends_with("weight");
        // Older checkpoints have 1 × 1 convolutions in their place.
        let data = match *data.shape().as_slice() {
            [output, input, 1, 1] if is_linear => {
                let (bytes, _, kind) = data.into_parts();
                TensorData::from_bytes(bytes, [output, input], kind)
            }
            _ => data,
        };
        let renamed = OLD_NAMES.iter().fold(name, |name, (old, new)| name.replace(old, new));
        (renamed, data)
    });
    Ok((params.collect(), path))
}

/// The floating-point tensors of a `.bin`, `.pt` or `.pth` file.
fn load_pytorch(path: &Path) -> Result<Params> {
    std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let reader = PytorchReader::new(path)
        .map_err(|e| Error::file(path, "content", e.to_string(), "a state dict by torch.save"))?;
    let mut params = Params::new();
    for (name, tensor) in reader.tensors() {
        let kind = match tensor.dtype() {
            pytorch_reader::DType::F16 => DType::F16,
            pytorch_reader::DType::BF16 => DType::BF16,
            pytorch_reader::DType::F32 => DType::F32,
            pytorch_reader::DType::F64 => DType::F64,
            other => {
                let expected = "a floating-point type";
                return Err(Error::file(path, name, format!("type {other:?}"), expected));
            }
        };
        let bytes = tensor
            .read()
            .map_err(|e| Error::file(path, name, e.to_string(), "a complete tensor"))?;
        params.insert(name.clone(), array(bytes, tensor.shape().to_vec(), kind, (path, name))?);
    }
    Ok(params)
}
