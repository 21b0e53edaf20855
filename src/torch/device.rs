//! Which device networks run on: `auto`, `cpu`, `cuda` or `cuda:N`.

use tch::{Cuda, Device};

use super::shim::load_cuda;
use crate::failure::{Classify, FailureKind};

/// A `--device` that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Not a device name.
    #[error("--device is `{found}`, expected auto, cpu, cuda or cuda:N")]
    Name {
        /// What was given.
        found: String,
    },
    /// No such GPU.
    #[error("--device is `{wanted}`, but libtorch sees {count} CUDA devices; `groupdistil doctor` says why")]
    Absent {
        /// What was given.
        wanted: String,
        /// Devices that are there.
        count: i64,
    },
}

impl Classify for DeviceError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

/// Number of CUDA devices that this process can use.
pub fn cuda_devices() -> i64 {
    load_cuda();
    if Cuda::is_available() { Cuda::device_count() } else { 0 }
}

/// The device of a `--device` name; `auto` is the first GPU, or the CPU.
///
/// # Errors
/// [`DeviceError`] for another name or an absent GPU.
pub fn choose_device(name: &str) -> Result<Device, DeviceError> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(if cuda_devices() > 0 { Device::Cuda(0) } else { Device::Cpu }),
        "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|number| number.parse::<usize>().ok()),
    };
    let Some(index) = index else { return Err(DeviceError::Name { found: name.to_owned() }) };
    let count = cuda_devices();
    if i64::try_from(index).is_ok_and(|index| index < count) {
        Ok(Device::Cuda(index))
    } else {
        Err(DeviceError::Absent { wanted: name.to_owned(), count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_name_that_is_none_is_refused() {
        assert_eq!(choose_device("cpu").unwrap(), Device::Cpu);
        assert!(matches!(choose_device("gpu"), Err(DeviceError::Name { .. })));
        assert!(matches!(choose_device("cuda:x"), Err(DeviceError::Name { .. })));
        assert!(matches!(choose_device("cuda:999"), Err(DeviceError::Absent { .. })));
    }
}
