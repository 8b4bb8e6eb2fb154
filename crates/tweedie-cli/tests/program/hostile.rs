//! Hostile input: every one ends with exit status 1 or 2 and one line that names the place and what was expected;
//! nothing is printed on stdout, nothing that was there is changed, and no temporary file stays.

mod data;
mod options;
mod recipes;
mod runs;
