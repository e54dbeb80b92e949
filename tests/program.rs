//! The program itself, for tests that run it.
//!
//! Cargo tells only a package's own tests where its binaries are, so these ask cargo to build it (which does nothing
//! when it is built) into the directory that the tests run from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program, of the same profile as the tests.
pub fn hopwise() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // target/PROFILE/deps/TEST-HASH
        let own = std::env::current_exe().expect("the test has a path");
        let built = own.parent().and_then(Path::parent).expect("cargo's layout of target directories");
        let profile = match built.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "hopwise", "--profile", profile]);
        build.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
        build.arg("--target-dir").arg(built.parent().expect("cargo's layout of target directories"));
        assert!(build.status().expect("cargo starts").success(), "{build:?}");
        built.join(format!("hopwise{}", std::env::consts::EXE_SUFFIX))
    })
}
