//! `--device` and `--threads`.

use tweedie::burn::tensor::Device;
#[cfg(any(feature = "metal", feature = "vulkan", feature = "wgpu"))]
use tweedie::burn::tensor::DeviceKind;
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

/// The features that bring a GPU.
const GPUS: [&str; 5] = ["cuda", "metal", "rocm", "vulkan", "wgpu"];

/// The device of a given name; a GPU must come up and answer.
pub fn parse(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => probed(name, || Device::cuda(0)),
        #[cfg(feature = "metal")]
        "metal" => probed(name, || Device::metal(DeviceKind::DefaultDevice)),
        #[cfg(feature = "rocm")]
        "rocm" => probed(name, || Device::rocm(0)),
        #[cfg(feature = "vulkan")]
        "vulkan" => probed(name, || Device::vulkan(DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        "wgpu" => probed(name, || Device::wgpu(DeviceKind::DefaultDevice)),
        name if GPUS.contains(&name) => Err(Error::Device {
            device: name.into(),
            why: format!(
                "this program was built without it; build with `cargo build --release --features {name}`"
            ),
        }),
        _ => Err(Error::config("--device", name, tweedie::error::one_of(name, DEVICES))),
    }
}

/// A device that has computed something: drivers that are not there show themselves only then, and by a panic.
#[cfg(any(
    feature = "cuda",
    feature = "metal",
    feature = "rocm",
    feature = "vulkan",
    feature = "wgpu"
))]
fn probed(name: &str, device: impl FnOnce() -> Device) -> Result<Device> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let probe = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let device = device();
        let two = tweedie::burn::tensor::Tensor::<1>::ones([1], &device).mul_scalar(2.0);
        (two.into_scalar::<f32>() == 2.0).then_some(device)
    }));
    std::panic::set_hook(hook);
    match probe {
        Ok(Some(device)) => Ok(device),
        _ => Err(Error::Device {
            device: name.into(),
            why: "it does not come up; is there such a GPU, with its driver?".into(),
        }),
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
