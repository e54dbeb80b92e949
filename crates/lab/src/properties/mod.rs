//! Properties of any cluster: strategies of proptest that draw clusters, workloads and faults, and the property that
//! the checks of a run hold for all of them.
//!
//! A [`Case`] is an ordinary scenario with its manifests: [`holds`] writes both, runs the scenario, and lets every check
//! that is always made decide. If one fails, it makes the scenario as small as `hopwise shrink` would, writes that beside
//! the whole one, and says where and how it is replayed. proptest itself need not shrink then
//! ([`config`] says so): its steps know nothing of what failed. Feature `properties` has all of it for other crates.

mod case;
mod manifests;
mod property;
mod topology;

pub use case::Case;
pub use property::{Broken, NotHeld, config, failures_directory, holds};
pub use topology::{Entrance, Topology};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::scenario::Scenario;

    /// Every case can be read, and is written as it is read; nothing is run.
    #[test]
    fn every_case_is_a_sound_scenario() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut runner = TestRunner::new(config(100, file!()));
        let sound = runner.run(&Case::any(5, 8), |case| {
            let scenario = case.scenario().expect("sound manifests");
            let (_, loaded) =
                case.load(directory.path()).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            prop_assert_eq!(&loaded.scenario, &scenario);
            prop_assert!(loaded.inputs.rejections.is_empty(), "{:?}", loaded.inputs.rejections);
            prop_assert!(scenario.faults.len() <= case.draw.faults as usize);
            let again: Scenario = case.scenario().expect("sound manifests");
            prop_assert_eq!(again, scenario);
            Ok(())
        });
        sound.unwrap_or_else(|error| panic!("{error}"));
    }
}
