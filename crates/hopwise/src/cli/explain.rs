//! `hopwise explain`.

use clap::Args;
use hopwise_lab::findings::Code;
use hopwise_lab::report::explain::{self, explain_text, list_text};
use miette::{Result, miette};

use super::Ending;
use super::output::{self, Console};

/// Tell all about a finding: what you see, why, how to tell, what to change, an example; or list all findings.
#[derive(Args)]
pub struct ExplainArguments {
    /// The finding's code, such as HW0012 (default: a list of all).
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Explains.
pub fn explain(arguments: ExplainArguments, console: Console) -> Result<Ending> {
    match arguments.code {
        None => output::print(&explain::list(), console, list_text)?,
        Some(text) => {
            let code: Code = text.parse().map_err(|_| unknown(&text))?;
            output::print(&explain::explain(code), console, explain_text)?;
        }
    }
    Ok(Ending::Well)
}

fn unknown(text: &str) -> miette::Report {
    let near: Vec<String> =
        Code::nearest(text).iter().map(|code| format!("{code} ({})", code.entry().title)).collect();
    miette!(
        help = format!("the nearest codes are {}; `hopwise explain` lists all", near.join(", ")),
        "CODE: there is no finding `{text}`"
    )
}
