//! Makes the binary find libtorch without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "torch")]
    torch::link();
}

#[cfg(feature = "torch")]
mod torch {
    /// torch-sys passes the library folder to its direct dependents only; link arguments do not travel at all.
    pub fn link() {
        if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        }
    }
}
