//! Conformance: case files, each case run through the real machinery.
//!
//! The files are those of `tests/cases` (formats: the README there), or of the directory that `HOPWISE_CASES` names.
//! Every case is a test named `FILE/ID`; a failing one prints its id, origin, what was expected and what came. A file
//! whose cases have a field that this program does not know fails as a whole: a field that is not understood could
//! hide a case that is not run.

mod case;
mod dns;
mod endpoint_selection;
mod kernel;
mod node;
mod packet_flow;
mod proxy_misc;
mod resolver;
mod statefulset;
mod upstream;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// The cases of a file.
type Cases = fn() -> Vec<Trial>;

fn main() -> ExitCode {
    let files: [(&str, Cases); 7] = [
        ("dns", dns::trials),
        ("resolver", resolver::trials),
        ("packet_flow", packet_flow::trials),
        ("endpoint_selection", endpoint_selection::trials),
        ("proxy_misc", proxy_misc::trials),
        ("statefulset", statefulset::trials),
        ("kernel", kernel::trials),
    ];
    let mut trials = Vec::new();
    for (name, of_file) in files {
        let cases = of_file();
        println!("{name}: {} cases", cases.len());
        trials.extend(cases);
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
