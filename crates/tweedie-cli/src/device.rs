//! `--device` and `--threads`.

use tweedie::burn::tensor::Device;
#[cfg(any(feature = "metal", feature = "vulkan", feature = "wgpu"))]
use tweedie::burn::tensor::DeviceKind;
use tweedie::{Error, Result};

/// Names of the devices that this program was built for.
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

/// Cargo features that add a GPU.
const GPUS: [&str; 5] = ["cuda", "metal", "rocm", "vulkan", "wgpu"];

/// Opens the device of a given name; a GPU must compute a known gradient correctly.
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
        name if is_a_gpu(name) && DEVICES.len() == 1 => Err(Error::Device {
            device: name.into(),
            why: format!(
                "this program was built without a GPU back end; `cargo build --release --features vulkan` adds one, as \
                 do the features {}",
                GPUS.join(", ")
            ),
        }),
        _ => Err(Error::config("--device", name, tweedie::error::one_of(name, DEVICES))),
    }
}

/// Whether a name is what other programs call a GPU.
fn is_a_gpu(name: &str) -> bool {
    let name = name.to_lowercase();
    let kind = name.split(':').next().unwrap_or_default();
    ["gpu", "cuda", "nvidia", "mps", "metal", "rocm", "hip", "amd", "xpu", "vulkan", "wgpu"]
        .contains(&kind)
}

/// Opens a device and checks a known gradient on it. A missing driver shows only at the first computation, by a panic.
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
        (square_error(&device), device)
    }));
    std::panic::set_hook(hook);
    let refused = |why: String| Error::Device { device: name.into(), why };
    match probe {
        Ok((error, device)) if error < 1e-4 => Ok(device),
        Ok((error, _)) => Err(refused(format!(
            "its driver computes wrongly: the square of a known gradient's norm is off by {error:.1e} of it, where \
             rounding makes 1e-6; training would be scaled wrongly"
        ))),
        Err(_) => Err(refused("it does not come up; is there such a GPU, with its driver?".into())),
    }
}

/// The relative error of a gradient's squared norm on a device. Of the mean of x² at x = 1, …, n the gradient is 2 x/n,
/// and its square 2 (n + 1)(2 n + 1)/(3 n).
#[cfg(any(
    test,
    feature = "cuda",
    feature = "metal",
    feature = "rocm",
    feature = "vulkan",
    feature = "wgpu"
))]
fn square_error(device: &Device) -> f64 {
    use tweedie::burn::tensor::{DType, Tensor, TensorData};
    let n = 1000;
    let numbers: Vec<f32> = (1..=n).map(|k| k as f32).collect();
    let data = TensorData::new(numbers, [n]);
    let x = Tensor::<1>::from_data(data, (&device.clone().autodiff(), DType::F32)).require_grad();
    let gradients = x.clone().square().mean().backward();
    let Some(gradient) = x.grad(&gradients) else { return f64::INFINITY };
    let n = n as f64;
    let exact = 2.0 * (n + 1.0) * (2.0 * n + 1.0) / (3.0 * n);
    (tweedie_ops::square_sum(&gradient) / exact - 1.0).abs()
}

/// Sets the number of threads that compute.
pub fn set_threads(threads: usize) -> Result<()> {
    if threads == 0 || threads > 1024 {
        return Err(Error::config("--threads", threads.to_string(), "1 to 1024"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|e| Error::config("--threads", e.to_string(), "to be set once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_the_gradient_that_devices_are_probed_by() {
        assert!(square_error(&Device::flex()) < 1e-6);
    }
}
