//! Everything that the documentation names exists: files, modules, types, functions, tests, make
//! targets; and the exit codes, the places of `unsafe` and the limits that it states match the
//! code. Needs no root.

#![allow(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

mod dependencies;
mod exit_codes;
mod limits;
mod names;
mod page;
mod repository;
mod unsafe_code;
