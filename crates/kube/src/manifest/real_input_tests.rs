//! Loads the manifests of a directory that is not part of the repository.
//!
//! `HOPWISE_MANIFESTS=DIR cargo test -p hopwise-kube --lib real_input -- --nocapture` reads every YAML file of
//! DIR on its own. Without the variable the test says that it is skipped.

use std::path::Path;

use super::Manifests;
use crate::admission;
use crate::source::read_paths;

#[test]
fn every_file_of_the_directory_loads() {
    let Some(directory) = std::env::var_os("HOPWISE_MANIFESTS") else {
        eprintln!("skipped: HOPWISE_MANIFESTS is not set");
        return;
    };
    let sources = read_paths(&[Path::new(&directory)], &mut std::io::empty()).expect("a readable directory");
    for source in &sources {
        let manifests = Manifests::load(std::slice::from_ref(source)).expect("manifests that load");
        assert!(!manifests.services.is_empty(), "{}: no Service", source.name);
        assert!(!manifests.stateful_sets.is_empty(), "{}: no StatefulSet", source.name);
        eprintln!(
            "{}: {} services, {} ignored kinds, unknown {:?}",
            source.name,
            manifests.services.len(),
            manifests.ignored.len(),
            manifests.unknown_fields
        );
        for rejection in admission::admit(&manifests, admission::NODE_PORTS_DEFAULT) {
            eprintln!("    {rejection}");
        }
    }
}
