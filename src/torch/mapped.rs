//! Arrays in files as tensors that the kernel maps: pages are read when they are touched, and no copy is held.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::TorchError;

/// The first `values` float16 numbers of a file, `[values]` on the CPU; the file is not kept open.
///
/// Who cuts the file while the tensor lives ends the process (SIGBUS), as with every mapped file.
///
/// # Errors
/// [`TorchError::Path`] for a path that is not UTF-8, [`TorchError::Tch`] for a file that cannot be mapped or is shorter.
pub fn float16(path: &Path, values: usize) -> Result<Tensor, TorchError> {
    let name = path.to_str().ok_or_else(|| TorchError::Path { path: path.to_path_buf() })?;
    let count = i64::try_from(values).unwrap_or(i64::MAX);
    // Not shared: opened for reading only, and writing to the tensor would not reach the file.
    Ok(Tensor::f_from_file(name, false, count, (Kind::Half, Device::Cpu))?)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::fsx;

    #[test]
    fn a_mapped_file_holds_its_numbers_and_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let bytes: Vec<u8> = (0..6_u8).flat_map(|value| f16::from_f32(f32::from(value) / 4.0).to_le_bytes()).collect();
        fsx::write_atomic(&path, &bytes).unwrap();
        let mapped = float16(&path, 5).unwrap();
        let values: Vec<f64> = Vec::try_from(&mapped.to_kind(Kind::Double)).unwrap();
        assert_eq!(values, [0.0, 0.25, 0.5, 0.75, 1.0]);
        let _ = mapped.shallow_clone().fill_(9.0);
        assert_eq!(fsx::read(&path, 64).unwrap(), bytes);
        assert!(float16(&path, 7).is_err());
        assert!(float16(&folder.path().join("absent"), 1).is_err());
    }
}
