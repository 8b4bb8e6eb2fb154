//! `--device` and `--threads`.

use tweedie::burn::tensor::Device;
use tweedie::{Error, Result};

/// The devices this program was built for.
pub const DEVICES: &[&str] = &[
    "cpu",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "metal")]
    "metal",
    #[cfg(feature = "rocm")]
    "rocm",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

/// The device of a given name.
pub fn parse(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(tweedie::burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "rocm")]
        "rocm" => Ok(Device::rocm(0)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(tweedie::burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(tweedie::burn::tensor::DeviceKind::DefaultDevice)),
        "cuda" | "metal" | "rocm" | "vulkan" | "wgpu" => Err(Error::Device {
            device: name.into(),
            why: format!(
                "this program was built without it; build with `cargo build --release --features {name}`"
            ),
        }),
        _ => Err(Error::config("--device", name, tweedie::error::one_of(name, DEVICES))),
    }
}

/// Sets how many threads compute.
pub fn set_threads(threads: usize) -> Result<()> {
    if threads == 0 || threads > 1024 {
        return Err(Error::config("--threads", threads.to_string(), "1 to 1024"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|e| Error::config("--threads", e.to_string(), "to be set once"))
}
