//! Declarations of `shim.cpp` and the thin safe layer over its pointers.
#![expect(unsafe_code, reason = "the FFI room")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Once;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::TorchError;

unsafe extern "C" {
    fn gd_last_error() -> *const c_char;
    fn gd_load_cuda() -> c_int;
    pub(super) fn gd_script_save(
        names: *const *const c_char,
        values: *const *const C_tensor,
        is_buffer: *const c_int,
        count: usize,
        source: *const c_char,
        extra_names: *const *const c_char,
        extra_data: *const *const c_char,
        extra_sizes: *const usize,
        extra_count: usize,
        path: *const c_char,
    ) -> c_int;
    pub(super) fn gd_script_extra(
        path: *const c_char,
        name: *const c_char,
        data: *mut *mut c_char,
        size: *mut usize,
    ) -> c_int;
    pub(super) fn gd_free_text(data: *mut c_char);
    pub(super) fn gd_script_tensors(
        path: *const c_char,
        visit: unsafe extern "C" fn(*mut c_void, *const c_char, *mut C_tensor),
        context: *mut c_void,
    ) -> c_int;
    fn gd_autocast_begin(cuda: c_int, was_enabled: *mut c_int) -> c_int;
    fn gd_autocast_end(cuda: c_int, was_enabled: c_int) -> c_int;
    pub(super) fn gd_keep_memory(keep: c_int);
    fn gd_channels_last(tensor: *mut C_tensor) -> c_int;
    pub(super) fn gd_fused_adamw(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        first_moments: *const *const C_tensor,
        second_moments: *const *const C_tensor,
        steps: *const *const C_tensor,
        count: usize,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> c_int;
    pub(super) fn gd_fused_sgd(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        momenta: *const *const C_tensor,
        count: usize,
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: c_int,
        first_step: c_int,
    ) -> c_int;
}

/// Turns the shim's status into a result.
pub(super) fn check(status: c_int) -> Result<(), TorchError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: gd_last_error gives a NUL-terminated string that lives until the thread's next failing call.
    let reason = unsafe { CStr::from_ptr(gd_last_error()) }.to_string_lossy().into_owned();
    Err(TorchError::Shim { reason })
}

pub(super) fn c_string(text: &str) -> Result<CString, TorchError> {
    CString::new(text).map_err(|_| TorchError::Nul)
}

/// The tensors' pointers; valid while the tensors are borrowed.
pub(super) fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// Loads libtorch's CUDA library where there is one; must come before the first question to `tch::Cuda`.
pub fn load_cuda() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        // SAFETY: takes no arguments; only runs the library's initialisers.
        unsafe { gd_load_cuda() };
    });
}

/// bfloat16 autocast of a device's operations on this thread, for as long as the guard lives.
#[derive(Debug)]
pub struct Autocast {
    cuda: c_int,
    was_enabled: c_int,
    // Autocast state is per thread: the guard must not be dropped on another.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Autocast {
    /// Starts autocast for operations on `device`.
    ///
    /// # Errors
    /// [`TorchError::Shim`] when libtorch refuses.
    pub fn begin(device: Device) -> Result<Self, TorchError> {
        let cuda = device.is_cuda().into();
        let mut was_enabled = 0;
        // SAFETY: the pointer is to a live integer.
        check(unsafe { gd_autocast_begin(cuda, &raw mut was_enabled) })?;
        Ok(Self { cuda, was_enabled, _not_send: std::marker::PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: takes plain integers; errors cannot be acted on here and leave autocast as it was.
        unsafe { gd_autocast_end(self.cuda, self.was_enabled) };
    }
}

/// Rearranges a 4-d tensor's memory to channels-last, in place; other tensors stay as they are. Values do not change.
pub fn to_channels_last(tensor: &mut Tensor) -> Result<(), TorchError> {
    // SAFETY: the pointer is to a live tensor that is borrowed exclusively.
    check(unsafe { gd_channels_last(tensor.as_mut_ptr()) })
}
