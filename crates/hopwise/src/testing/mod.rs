//! Tests of one's own client code in a simulated cluster, by `cargo test`.
//!
//! The attribute [`hopwise::test`](crate::test) makes a test of an `async fn`: the cluster of the manifests starts in virtual
//! time, and the function runs beside it. Client code runs at a place of the cluster ([`Lab::at`]), on the sockets of
//! [`hopwise::net`](crate::net), which mirror tokio's; time is tokio's.
//!
//! ```no_run
//! use hopwise::testing::Lab;
//!
//! #[hopwise::test(manifests = ["deploy/redpanda.yaml"], cluster = "deploy/three-zones.yaml")]
//! async fn brokers_are_reached_from_outside(lab: Lab) -> Result<(), Box<dyn std::error::Error>> {
//!     let client = lab.at("external").await?;
//!     let stream = client.run(hopwise::net::TcpStream::connect("10.0.0.10:31092".parse()?)).await?;
//!     assert_eq!(stream.peer_addr()?.port(), 31092);
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! | Setting | Meaning | Default |
//! |---|---|---|
//! | `manifests` | files and directories, relative to the package | required, unless `scenario` is given |
//! | `cluster` | a cluster file: nodes, zones, names outside | none |
//! | `nodes`, `profile` | how many nodes, which profile, where no cluster file says so | as many as the largest StatefulSet needs; `bare-metal` |
//! | `scenario` | a scenario file whose cluster, manifests and faults are taken; the test stands for its clients and expectations | none |
//! | `faults` | a timeline of faults in the scenario file's words, played from the moment at which the cluster is ready | none |
//! | `seed`, `seeds` | the seed, or a range of seeds, each a run of its own | 0 |
//! | `ready_within` | virtual time until everything is ready | 20 minutes |
//!
//! A failure prints what failed with which seed, the line that replays it, and where the capture of its packets is. In CI (the
//! variable `CI` is set, or `HOPWISE_TWICE`) every run is made twice, and the first difference between the two event logs is a
//! failure: something in the test is not deterministic. `HOPWISE_SEED=N` and `HOPWISE_SEEDS=A..B` choose other seeds.

mod environment;
mod failure;
mod here;
mod lab;
mod panics;
mod run;
mod testbed;

pub use failure::Outcome;
pub use here::Here;
pub use lab::{Lab, Running, Site, Stopped};
pub use testbed::Testbed;
