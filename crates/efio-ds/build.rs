//! Gives the shared library the name that programs ask the loader for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let name = match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos" | "ios") => "-Wl,-install_name,@rpath/libefio_ds.0.dylib",
        _ => "-Wl,-soname,libefio_ds.so.0",
    };
    println!("cargo::rustc-cdylib-link-arg={name}");
}
