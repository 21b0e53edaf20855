//! Compiles the C++ shim of `src/torch` and makes the binary find libtorch without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "torch")]
    torch::build();
}

#[cfg(feature = "torch")]
mod torch {
    use std::path::PathBuf;

    /// torch-sys tells the library folder to its direct dependents only; link arguments do not travel at all.
    pub fn build() {
        println!("cargo:rerun-if-changed=src/torch/shim.cpp");
        let Ok(libraries) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libraries}");
        let include = PathBuf::from(&libraries).join("../include");
        let cxx11_abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
        cc::Build::new()
            .cpp(true)
            .file("src/torch/shim.cpp")
            .include(&include)
            .include(include.join("torch/csrc/api/include"))
            .std("c++17")
            .opt_level(1)
            .warnings(false)
            .flag_if_supported("-w")
            .define("_GLIBCXX_USE_CXX11_ABI", cxx11_abi.as_str())
            .compile("groupdistil_shim");
        println!("cargo:rustc-link-search=native={libraries}");
        println!("cargo:rustc-link-lib=torch_cpu");
        println!("cargo:rustc-link-lib=c10");
        println!("cargo:rustc-link-lib=dl");
    }
}
