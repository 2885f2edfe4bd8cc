//! Gives the shared library its C name, so that programs linked with it ask for `libefio.so.0`, and keeps it loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libefio.so.0");
        // Its threads run its code until the process ends, so dlclose(3) must not take that away.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
