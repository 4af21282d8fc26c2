//! The module `millstream._errors`: the status codes and one exception class for each entry.

use std::fmt::Write as _;

use millstream_boundary::errors::ErrorEntry;

const HEAD: &str = r#""""The status codes and the exceptions. Made from the error table of the core; do not edit."""

from __future__ import annotations

import builtins
import enum
from typing import Final

from millstream._base import Error, RpcError


class StatusCode(enum.IntEnum):
    """The status codes of gRPC."""

"#;

/// The whole file.
pub fn module(table: &[ErrorEntry]) -> String {
    let codes = || table.iter().filter(|entry| entry.number < 100);
    let errors = || table.iter().filter(|entry| entry.number >= 100);
    let mut text = HEAD.to_owned();
    for entry in codes() {
        let _ =
            writeln!(text, "    {} = {}\n    \"\"\"{}\"\"\"", entry.name, entry.number, entry.doc);
    }
    for entry in codes().filter(|entry| entry.number != 0) {
        text.push_str(&class(entry));
    }
    for entry in errors() {
        text.push_str(&class(entry));
    }
    let _ = write!(text, "\n\nRPC_ERRORS: Final[dict[int, type[RpcError]]] = {{\n");
    for entry in codes().filter(|entry| entry.number != 0) {
        let _ = writeln!(text, "    {}: {},", entry.number, class_name(entry));
    }
    text.push_str("}\n\nMISUSE_ERRORS: Final[dict[int, type[Error]]] = {\n");
    for entry in errors() {
        let _ = writeln!(text, "    {}: {},", entry.number, class_name(entry));
    }
    text.push_str("}\n");
    text
}

fn class(entry: &ErrorEntry) -> String {
    let mut text = format!(
        "\n\nclass {}({}):\n    \"\"\"{}\"\"\"\n\n    number = {}\n",
        class_name(entry),
        bases(entry.number),
        entry.doc,
        entry.number
    );
    if entry.number < 100 {
        let _ = writeln!(text, "    code = StatusCode.{}", entry.name);
    }
    let retryable = if entry.retryable { "True" } else { "False" };
    let _ = writeln!(text, "    retryable = {retryable}");
    text
}

/// `NOT_FOUND` is `NotFound`, `INVALID_TLS` is `InvalidTlsError`.
fn class_name(entry: &ErrorEntry) -> String {
    let camel: String = entry
        .name
        .split('_')
        .map(|word| word[..1].to_owned() + &word[1..].to_ascii_lowercase())
        .collect();
    match entry.number {
        ..100 => camel,
        // SystemError is CPython's, for defects of the interpreter.
        113 => "SystemCallError".to_owned(),
        _ => camel + "Error",
    }
}

/// Beside ours the built-in exception that Python programs catch for the same kind of failure.
fn bases(number: i32) -> &'static str {
    match number {
        4 => "RpcError, builtins.TimeoutError",
        ..100 => "RpcError",
        100..=104 => "Error, ValueError",
        109 => "Error, builtins.TimeoutError",
        112 => "Error, MemoryError",
        113 => "Error, OSError",
        _ => "Error, RuntimeError",
    }
}

#[cfg(test)]
mod tests {
    use millstream_boundary::errors::TABLE;

    use super::*;

    #[test]
    fn every_entry_but_ok_has_a_class_and_a_place_in_its_table() {
        let text = module(TABLE);
        for entry in TABLE.iter().filter(|entry| entry.number != 0) {
            let name = class_name(entry);
            assert!(text.contains(&format!("\nclass {name}(")), "{name}");
            assert!(text.contains(&format!("    {}: {name},\n", entry.number)), "{name}");
            assert!(text.contains(&format!("\"\"\"{}\"\"\"", entry.doc)), "{name}");
        }
    }

    #[test]
    fn a_class_says_number_code_and_whether_to_try_again() {
        let text = module(TABLE);
        let unavailable = "class Unavailable(RpcError):\n    \"\"\"The service cannot be reached now; \
                           most likely it is worth trying again.\"\"\"\n\n    number = 14\n    \
                           code = StatusCode.UNAVAILABLE\n    retryable = True\n";
        assert!(text.contains(unavailable), "{text}");
        assert!(text.contains("class DeadlineExceeded(RpcError, builtins.TimeoutError):"));
        assert!(text.contains("class InvalidTlsError(Error, ValueError):"));
        assert!(text.contains("class SystemCallError(Error, OSError):"));
    }

    #[test]
    fn names_are_unique_although_the_table_has_invalid_argument_twice() {
        let mut names: Vec<String> = TABLE.iter().map(class_name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
