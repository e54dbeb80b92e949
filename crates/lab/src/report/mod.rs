//! Reports: plain data that serializes to what the command line promises, and renderings of it for people.

pub mod check;
pub mod run;
