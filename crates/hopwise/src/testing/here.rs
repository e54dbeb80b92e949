//! Where a test stands in the source, to say how it is run again.

use std::path::PathBuf;

/// A test's place; [`__here!`](crate::__here) fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// The package, `CARGO_PKG_NAME`.
    pub package: &'static str,
    /// The package's directory, `CARGO_MANIFEST_DIR`: paths are relative to it.
    pub directory: &'static str,
    /// The crate, `CARGO_CRATE_NAME`.
    pub target: &'static str,
    /// Whether the crate is an integration test: only those have `CARGO_TARGET_TMPDIR`.
    pub integration: bool,
    /// `module_path!()`, with the crate in front.
    pub module: &'static str,
    /// The test's name.
    pub name: &'static str,
}

/// The [`Here`] of the test that is called so, in the crate that calls this.
#[doc(hidden)]
#[macro_export]
macro_rules! __here {
    ($name:ident) => {
        $crate::testing::Here {
            package: ::core::env!("CARGO_PKG_NAME"),
            directory: ::core::env!("CARGO_MANIFEST_DIR"),
            target: ::core::env!("CARGO_CRATE_NAME"),
            integration: ::core::option_env!("CARGO_TARGET_TMPDIR").is_some(),
            module: ::core::module_path!(),
            name: ::core::stringify!($name),
        }
    };
}

impl Here {
    /// The test's path, as the test runner names it.
    pub fn path(&self) -> String {
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// The line that runs this test with `seed`.
    pub fn replay(&self, seed: u64) -> String {
        let target = if self.integration { format!("--test {}", self.target) } else { "--lib".to_owned() };
        format!("HOPWISE_SEED={seed} cargo test -p {} {target} -- --exact {}", self.package, self.path())
    }

    /// Where what belongs to a failure of this test is kept: beside the program that runs, in the target directory.
    pub fn artifacts(&self) -> PathBuf {
        let program = std::env::current_exe().ok();
        let built = program.as_deref().and_then(|it| it.parent()?.parent());
        let base = built.map_or_else(std::env::temp_dir, ToOwned::to_owned);
        base.join("hopwise").join(self.target).join(self.path().replace("::", "."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replay_line_names_package_target_and_test() {
        let here = Here {
            package: "shop",
            directory: "/shop",
            target: "clients",
            integration: true,
            module: "clients::orders",
            name: "arrive",
        };
        assert_eq!(
            here.replay(7),
            "HOPWISE_SEED=7 cargo test -p shop --test clients -- --exact orders::arrive"
        );
        let inside = Here { integration: false, module: "shop", ..here };
        assert_eq!(inside.replay(0), "HOPWISE_SEED=0 cargo test -p shop --lib -- --exact arrive");
    }

    #[test]
    fn a_test_knows_where_it_stands() {
        let here = __here!(name);
        assert_eq!((here.package, here.integration), ("hopwise", false));
        assert_eq!(here.path(), "testing::here::tests::name");
    }
}
