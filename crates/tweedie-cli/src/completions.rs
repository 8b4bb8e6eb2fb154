//! `tweedie completions`.

use crate::{Cli, output};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Options of `tweedie completions`.
#[derive(clap::Args)]
pub struct Options {
    /// The shell: bash, elvish, fish, powershell or zsh.
    shell: Shell,
}

/// Prints a script by which a shell completes commands and options.
pub fn run(options: &Options) -> tweedie::Result<()> {
    let mut script = Vec::new();
    generate(options.shell, &mut Cli::command(), "tweedie", &mut script);
    output::bytes(&script);
    Ok(())
}
