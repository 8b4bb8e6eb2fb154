//! End-to-end tests of the program: what it prints, writes and refuses, as a user meets it.

mod bench;
mod chains;
mod commands;
mod compare;
mod conditions;
mod exchange;
mod features;
mod files;
mod filter;
mod hostile;
mod inputs;
mod interrupted;
#[cfg(target_os = "linux")]
mod memory;
mod moved;
mod newcomers;
mod objectives;
mod old_runs;
mod outputs;
mod pictures;
mod reproduce;
mod resume;
mod show;
mod support;
