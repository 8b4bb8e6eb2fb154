//! End-to-end tests of the program: what it prints, writes and refuses, as a user meets it.

mod commands;
mod features;
mod files;
mod hostile;
#[cfg(target_os = "linux")]
mod memory;
mod resume;
mod support;
