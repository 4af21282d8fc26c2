//! The constants of the Java enums.

use millstream_boundary::errors::ErrorEntry;

use crate::{between, fill};

/// Where google-java-format breaks lines.
const WIDTH: usize = 100;

/// The constants of `ErrorCode`: number, retryable, gRPC code.
pub fn error_codes(table: &[ErrorEntry]) -> Vec<String> {
    constants(table.iter().filter(|entry| entry.number >= 100), |entry| {
        let grpc = match entry.grpc {
            Some(code) => format!("StatusCode.{}", code.name()),
            None => "null".to_owned(),
        };
        format!("{}({}, {}, {grpc})", entry.name, entry.number, entry.retryable)
    })
}

/// The constants of `StatusCode`: number, retryable.
pub fn status_codes(table: &[ErrorEntry]) -> Vec<String> {
    constants(table.iter().filter(|entry| entry.number < 100), |entry| {
        format!("{}({}, {})", entry.name, entry.number, entry.retryable)
    })
}

fn constants<'a>(
    entries: impl Iterator<Item = &'a ErrorEntry>,
    constant: impl Fn(&ErrorEntry) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in entries {
        let doc = format!("    /** {} */", entry.doc);
        if doc.len() <= WIDTH {
            lines.push(doc);
        } else {
            lines.push("    /**".to_owned());
            let filled = fill(entry.doc, WIDTH - "     * ".len());
            lines.extend(filled.into_iter().map(|line| format!("     * {line}")));
            lines.push("     */".to_owned());
        }
        lines.push(format!("    {},", constant(entry)));
    }
    if let Some(last) = lines.last_mut() {
        last.pop();
        last.push(';');
    }
    lines
}

/// Puts the constants into an enum: from the line that opens it to the empty line after them.
pub fn splice(text: &str, constants: &[String]) -> Result<String, String> {
    let opens = |line: &str| line.starts_with("public enum ") && line.ends_with('{');
    between(text, opens, str::is_empty, constants)
}

#[cfg(test)]
mod tests {
    use millstream_boundary::{Code, errors::TABLE};

    use super::*;

    const ENUM: &str = "package p;\n\npublic enum ErrorCode implements Code {\n    OLD(1);\n\n    \
                        private final int number;\n}\n";

    #[test]
    fn every_entry_of_the_table_becomes_a_constant() {
        let errors = error_codes(TABLE).join("\n");
        let statuses = status_codes(TABLE).join("\n");
        for entry in TABLE {
            let text = if entry.number < 100 { &statuses } else { &errors };
            assert!(text.contains(&format!("    {}({}, ", entry.name, entry.number)), "{text}");
        }
        assert!(errors.contains("    CLOSED(105, false, StatusCode.UNAVAILABLE),"), "{errors}");
        assert!(errors.contains("    CALL_ENDED(108, false, null),"), "{errors}");
        assert!(statuses.contains("    UNAVAILABLE(14, true),"), "{statuses}");
    }

    #[test]
    fn the_last_constant_ends_the_list_and_the_rest_of_the_file_stays() {
        let text = splice(ENUM, &error_codes(TABLE)).unwrap();
        assert!(
            text.starts_with("package p;\n\npublic enum ErrorCode implements Code {\n    /** ")
        );
        assert!(text.ends_with(");\n\n    private final int number;\n}\n"), "{text}");
        assert!(!text.contains("OLD"));
        assert_eq!(splice(&text, &error_codes(TABLE)).unwrap(), text, "and again changes nothing");
    }

    #[test]
    fn a_description_that_is_too_long_for_a_line_is_broken() {
        let entry = ErrorEntry {
            number: 100,
            name: "LONG",
            grpc: Some(Code::Internal),
            retryable: false,
            doc: "A sentence that goes on and on until it does not fit into one line of a hundred \
                  columns any longer.",
        };
        let lines = error_codes(&[entry]);
        assert_eq!(lines[0], "    /**");
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "    LONG(100, false, StatusCode.INTERNAL);");
    }
}
