//! The commands.
//!
//! Every command prints its result on standard output (text for people, or one JSON object) and everything else
//! on standard error. Exit status: 0 all is well, 1 the thing examined is not well, 2 the input or the call is
//! wrong.

mod check;
mod completions;
mod dns;
#[cfg(target_os = "linux")]
mod exec;
mod explain;
mod init;
mod input;
mod man;
mod merge;
mod output;
mod probe;
mod progress;
mod run;
mod schema;
mod serve;
mod shrink;
mod sweep;
mod trace_log;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Console, Format};

/// A Kubernetes network in one process, for Kafka clients that must reach the right broker.
#[derive(Parser)]
#[command(name = "hopwise", version, max_term_width = 120)]
struct Cli {
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
    /// What to log on standard error, with virtual time in simulations: a level, or directives such as `hopwise=debug`.
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,
    /// Print no report for people and no progress: the exit status, the files asked for and --format json tell.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log on standard error what happens: -v as --log info, -vv as --log debug, -vvv as --log trace.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try every listener of every broker from every place.
    Check(check::CheckArguments),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArguments),
    /// Look a name up from a place, and tell why it has the records it has, or none.
    Dns(dns::DnsArguments),
    /// Run an unmodified program inside the simulated network, in real time (Linux).
    #[cfg(target_os = "linux")]
    Exec(exec::ExecArguments),
    /// Tell all about a finding, or list all findings.
    Explain(explain::ExplainArguments),
    /// Write a first scenario for manifests.
    Init(init::InitArguments),
    /// Write the manual pages into a directory.
    Man(man::ManArguments),
    /// Join the results of the shards of a sweep.
    Merge(merge::MergeArguments),
    /// Dial any Service or pod, and tell the way of the packets and why it ends as it does.
    Probe(probe::ProbeArguments),
    /// Run a scenario and measure it.
    Run(run::RunArguments),
    /// Print the JSON Schema of scenario or cluster files, for editors.
    Schema(schema::SchemaArguments),
    /// Serve the brokers in real time on loopback sockets, for any Kafka client.
    Serve(serve::ServeArguments),
    /// Make a failing scenario small.
    Shrink(shrink::ShrinkArguments),
    /// Run a scenario with many seeds, on all cores.
    Sweep(sweep::SweepArguments),
}

/// How a command ended.
pub enum Ending {
    /// All is well.
    Well,
    /// The thing examined is not well.
    NotWell,
    /// A program that was run has ended with this status.
    #[cfg(target_os = "linux")]
    Status(u8),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; clap knows which stream each belongs to.
            let status = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let filter = cli.log.as_deref().or(match cli.verbose {
        0 => None,
        1 => Some("info"),
        2 => Some("debug"),
        _ => Some("trace"),
    });
    let console = Console { format: cli.format, quiet: cli.quiet };
    if let Err(error) = trace_log::start(filter) {
        return fail(&error);
    }
    let ended = match cli.command {
        Command::Check(arguments) => check::check(arguments, console),
        Command::Completions(arguments) => completions::completions(arguments),
        Command::Dns(arguments) => dns::dns(arguments, console),
        #[cfg(target_os = "linux")]
        Command::Exec(arguments) => exec::exec(arguments),
        Command::Explain(arguments) => explain::explain(arguments, console),
        Command::Init(arguments) => init::init(arguments, console),
        Command::Man(arguments) => man::man(arguments, console),
        Command::Merge(arguments) => merge::merge(arguments, console),
        Command::Probe(arguments) => probe::probe(arguments, console),
        Command::Run(arguments) => run::run(arguments, console),
        Command::Schema(arguments) => schema::schema(arguments),
        Command::Serve(arguments) => serve::serve(arguments, console),
        Command::Shrink(arguments) => shrink::shrink(arguments, console),
        Command::Sweep(arguments) => sweep::sweep(arguments, console),
    };
    match ended {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::NotWell) => ExitCode::from(1),
        #[cfg(target_os = "linux")]
        Ok(Ending::Status(status)) => ExitCode::from(status),
        Err(report) => fail(&report),
    }
}

fn fail(report: &miette::Report) -> ExitCode {
    eprintln!("{report:?}");
    ExitCode::from(2)
}
