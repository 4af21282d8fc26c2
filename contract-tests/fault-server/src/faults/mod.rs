//! The faults by theme, and the way from a path to a script.

use crate::script::{Fault, Request, Step};

mod checks;
mod compression;
mod connection;
mod framing;
mod metadata;
mod protocol;
mod resets;
mod status;

/// The service that all methods belong to.
pub const SERVICE: &str = "/fault.v1.Fault/";

/// Every fault, theme by theme.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [
        checks::FAULTS,
        status::FAULTS,
        metadata::FAULTS,
        framing::FAULTS,
        compression::FAULTS,
        resets::FAULTS,
        connection::FAULTS,
        protocol::FAULTS,
    ]
    .into_iter()
    .flatten()
}

/// The fault that a path names, with its argument.
pub fn find(path: &str) -> Option<(&'static Fault, &str)> {
    let method = path.strip_prefix(SERVICE)?;
    let (name, argument) = method.split_once('-').unwrap_or((method, ""));
    let fault = all().find(|fault| fault.name == name)?;
    (fault.argument.is_empty() == argument.is_empty()).then_some((fault, argument))
}

/// Whether a path names a fault with an argument that it takes.
pub fn knows(path: &str) -> bool {
    find(path).is_some_and(|(fault, argument)| {
        (fault.script)(&Request { argument, fields: &[], attempt: 1 }).is_some()
    })
}

/// The answer to a path that names no fault.
pub(crate) fn unknown(path: &str) -> Vec<Step> {
    // What a client sends must not be able to break the header block of the answer.
    let shown: String = path.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    let shown = shown.replace('%', "?");
    vec![
        Step::AwaitRequest,
        crate::script::trailers_only(12, &format!("no such fault: {shown}"), &[]),
    ]
}
