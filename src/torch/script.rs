//! TorchScript archives with real parameters: written from named tensors and a source text, read back with their extra files.
#![expect(unsafe_code, reason = "the FFI room")]

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;
use std::ptr;

use tch::{CModule, Device, Tensor};
use torch_sys::C_tensor;

use super::TorchError;
use super::shim::{c_string, check, gd_free_text, gd_script_extra, gd_script_save, gd_script_tensors, pointers};

/// What goes into an archive.
#[derive(Debug)]
pub struct ScriptParts<'a> {
    /// Dotted names (`layer1.0.conv1.weight`), tensors, and whether each is a buffer; in the order of the state dict.
    pub tensors: &'a [(&'a str, &'a Tensor, bool)],
    /// TorchScript source of `forward(self, x)`.
    pub source: &'a str,
    /// Extra files by name.
    pub extra: &'a [(&'a str, &'a [u8])],
}

fn path_text(path: &Path) -> Result<&str, TorchError> {
    path.to_str().ok_or_else(|| TorchError::Shim { reason: "the path is not UTF-8".to_owned() })
}

/// Writes a TorchScript archive. The caller renames it into place.
///
/// # Errors
/// [`TorchError::Shim`] with the compiler's words when the source does not compile, or when the file cannot be written.
pub fn save(parts: &ScriptParts<'_>, path: &Path) -> Result<(), TorchError> {
    let names = parts.tensors.iter().map(|(name, ..)| c_string(name)).collect::<Result<Vec<_>, _>>()?;
    let name_pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let values = pointers(parts.tensors.iter().map(|(_, tensor, _)| *tensor));
    let is_buffer: Vec<_> = parts.tensors.iter().map(|(_, _, buffer)| (*buffer).into()).collect();
    let extra_names = parts.extra.iter().map(|(name, _)| c_string(name)).collect::<Result<Vec<_>, _>>()?;
    let extra_pointers: Vec<*const c_char> = extra_names.iter().map(|name| name.as_ptr()).collect();
    let extra_data: Vec<*const c_char> = parts.extra.iter().map(|(_, bytes)| bytes.as_ptr().cast()).collect();
    let extra_sizes: Vec<usize> = parts.extra.iter().map(|(_, bytes)| bytes.len()).collect();
    let (source, path) = (c_string(parts.source)?, c_string(path_text(path)?)?);
    // SAFETY: each array holds as many entries as its count says, and all that they point to is borrowed for the whole call.
    check(unsafe {
        gd_script_save(
            name_pointers.as_ptr(),
            values.as_ptr(),
            is_buffer.as_ptr(),
            names.len(),
            source.as_ptr(),
            extra_pointers.as_ptr(),
            extra_data.as_ptr(),
            extra_sizes.as_ptr(),
            extra_sizes.len(),
            path.as_ptr(),
        )
    })
}

/// One extra file of an archive; `None` when it has none of that name, or an empty one.
///
/// # Errors
/// [`TorchError::Shim`] when the file is no TorchScript archive.
pub fn extra_file(path: &Path, name: &str) -> Result<Option<Vec<u8>>, TorchError> {
    let (path, name) = (c_string(path_text(path)?)?, c_string(name)?);
    let (mut data, mut size): (*mut c_char, usize) = (ptr::null_mut(), 0);
    // SAFETY: strings are NUL-terminated, the out-pointers are live.
    check(unsafe { gd_script_extra(path.as_ptr(), name.as_ptr(), &raw mut data, &raw mut size) })?;
    if data.is_null() {
        return Ok(None);
    }
    // SAFETY: the shim gave `size` bytes at `data`, which are ours until gd_free_text.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) }.to_vec();
    // SAFETY: `data` came from the shim and is not used after this.
    unsafe { gd_free_text(data) };
    Ok(Some(bytes))
}

/// The named parameters and buffers of an archive, on the CPU.
///
/// # Errors
/// [`TorchError::Shim`] when the file is no TorchScript archive.
pub fn tensors(path: &Path) -> Result<Vec<(String, Tensor)>, TorchError> {
    unsafe extern "C" fn visit(context: *mut c_void, name: *const c_char, tensor: *mut C_tensor) {
        // SAFETY: `context` is the vector below; `name` is NUL-terminated; `tensor` is handed over to us.
        unsafe {
            let found = &mut *context.cast::<Vec<(String, Tensor)>>();
            found.push((CStr::from_ptr(name).to_string_lossy().into_owned(), Tensor::from_ptr(tensor)));
        }
    }
    let path = c_string(path_text(path)?)?;
    let mut found: Vec<(String, Tensor)> = Vec::new();
    // SAFETY: `visit` gets the address of `found`, which outlives the call, and nothing else touches it meanwhile.
    check(unsafe { gd_script_tensors(path.as_ptr(), visit, (&raw mut found).cast()) })?;
    Ok(found)
}

/// A loaded archive, ready to run.
///
/// # Errors
/// [`TorchError::Tch`] when the file is no TorchScript archive.
pub fn load(path: &Path, device: Device) -> Result<CModule, TorchError> {
    let mut module = CModule::load_on_device(path, device)?;
    module.f_set_eval()?;
    Ok(module)
}
