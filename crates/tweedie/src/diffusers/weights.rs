//! Weights in the folder of a checkpoint: safetensors or files of PyTorch, in any floating-point type.

use crate::nn::{Params, array, load_safetensors, singles};
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use pytorch_reader::PytorchReader;
use std::collections::BTreeMap;
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

/// The weights of a network under their present names.
pub(super) struct Weights {
    pub params: Params,
    /// Their file, or the index of their files.
    pub origin: PathBuf,
    /// A remark on the choice among files.
    pub note: Option<String>,
}

/// Loads the weights in the folder of a network: a file of [`NAMES`], or else an index of shards, or else a variant of
/// either, such as `diffusion_pytorch_model.fp16.safetensors`.
///
/// # Errors
/// [`Error::File`] if there is no file of weights in the folder, or it is damaged, or a shard or a tensor of the index
/// is missing.
pub(super) fn load(folder: &Path) -> Result<Weights> {
    let (origin, note) = find(folder)?;
    let params = match is_index(&origin) {
        true => load_shards(&origin)?,
        false => load_file(&origin)?,
    };
    let params = singles(params, &origin)?.into_iter().map(|(name, data)| {
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
    Ok(Weights { params: params.collect(), origin, note })
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// The file of weights or the index in a folder, with a remark if it is a variant.
fn find(folder: &Path) -> Result<(PathBuf, Option<String>)> {
    let indices = NAMES.iter().map(|name| format!("{name}.index.json"));
    let names = NAMES.iter().map(|name| name.to_string()).chain(indices);
    if let Some(path) = names.map(|name| folder.join(name)).find(|path| path.exists()) {
        return Ok((path, None));
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_by_key(|name| (variant(name).unwrap_or_default().preference(), name.clone()));
    let variants: Vec<&String> = names.iter().filter(|name| variant(name).is_some()).collect();
    if let Some(first) = variants.first() {
        let note = format!("{}: the weights are those of {first}", folder.display());
        return Ok((folder.join(first), Some(note)));
    }
    let shard = names.iter().find(|name| name.contains("-of-") && name.contains("model"));
    let problem = match shard {
        Some(shard) => format!("the shard {shard} without an index"),
        None => "missing".into(),
    };
    let expected =
        format!("one of {}, or its index, as in {}.index.json", NAMES.join(", "), NAMES[0]);
    Err(Error::file(folder, "weights", problem, expected))
}

/// The variant of a file of weights or of an index, the part of its name that files without a variant lack.
#[derive(Default)]
struct Variant(String);

impl Variant {
    /// Averaged weights first, weights that are not averaged last.
    fn preference(&self) -> u8 {
        match self.0.as_str() {
            "ema" => 0,
            "non_ema" => 2,
            _ => 1,
        }
    }
}

/// The variant of `stem.VARIANT.ending`, `stem.ending.index.VARIANT.json` or `stem.VARIANT.ending.index.json`.
fn variant(name: &str) -> Option<Variant> {
    NAMES.iter().find_map(|known| {
        let (stem, ending) = known.rsplit_once('.')?;
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let of = |rest: &str, before: &str, after: &str| {
            let inside = rest.strip_prefix(before)?.strip_suffix(after)?;
            (!inside.is_empty() && !inside.contains('.') && !inside.contains("-of-"))
                .then(|| Variant(inside.to_string()))
        };
        of(rest, "", &format!(".{ending}"))
            .or_else(|| of(rest, &format!("{ending}.index."), ".json"))
            .or_else(|| of(rest, "", &format!(".{ending}.index.json")))
    })
}

fn load_file(path: &Path) -> Result<Params> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => load_safetensors(path),
        _ => load_pytorch(path),
    }
}

/// The part of an index that is read: the file of each tensor.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of an index, out of files beside it.
fn load_shards(path: &Path) -> Result<Params> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let Index { weight_map } = serde_json::from_str(&text).map_err(|e| {
        let expected = "an index of shards: a weight_map of tensors' names to files";
        Error::file(path, format!("line {}", e.line()), e.to_string(), expected)
    })?;
    let mut by_file = BTreeMap::<String, Vec<String>>::new();
    for (name, file) in weight_map {
        by_file.entry(file).or_default().push(name);
    }
    let mut all = Params::new();
    for (file, names) in by_file {
        if file.is_empty() || file.contains(['/', '\\']) || file.starts_with("..") {
            return Err(Error::file(
                path,
                "weight_map",
                file,
                "the name of a file beside the index",
            ));
        }
        let shard = path.with_file_name(&file);
        let mut params = load_file(&shard)?;
        for name in names {
            let Some(data) = params.remove(&name) else {
                let expected = format!("a tensor, by {}", path.display());
                return Err(Error::file(shard, name, "missing", expected));
            };
            all.insert(name, data);
        }
    }
    Ok(all)
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
