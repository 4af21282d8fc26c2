//! Writes the part of a binding's sources that is the error table, so that the table stands once.
//!
//! `codegen` writes the files, `codegen --check` says which are not what it would write.
#![forbid(unsafe_code)]

use std::{env, fs, path::Path, process::ExitCode};

use millstream_boundary::errors::TABLE;

mod java;
mod python;

/// A file, and how its text follows from the table and its present text.
struct Output {
    path: &'static str,
    make: fn(&str) -> Result<String, String>,
}

const OUTPUTS: &[Output] = &[
    Output {
        path: "bindings-java/millstream/src/main/java/dev/millstream/ErrorCode.java",
        make: |text| java::splice(text, &java::error_codes(TABLE)),
    },
    Output {
        path: "bindings-java/millstream/src/main/java/dev/millstream/StatusCode.java",
        make: |text| java::splice(text, &java::status_codes(TABLE)),
    },
    Output {
        path: "bindings-python/python/millstream/_errors.py",
        make: |_| Ok(python::module(TABLE)),
    },
];

fn main() -> ExitCode {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: codegen [--check]");
            return ExitCode::from(2);
        }
    };
    // The manifest is in <root>/ci/codegen.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut good = true;
    for output in OUTPUTS {
        match apply(&root.join(output.path), output.make, check) {
            Ok(Outcome::Same) => {}
            Ok(Outcome::Written) => eprintln!("{}: written", output.path),
            Ok(Outcome::Different) => {
                eprintln!("{}: not what the error table says", output.path);
                good = false;
            }
            Err(error) => {
                eprintln!("{}: {error}", output.path);
                good = false;
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Same,
    Written,
    Different,
}

fn apply(
    path: &Path,
    make: fn(&str) -> Result<String, String>,
    check: bool,
) -> Result<Outcome, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let wanted = make(&text)?;
    if wanted == text {
        return Ok(Outcome::Same);
    }
    if check {
        return Ok(Outcome::Different);
    }
    fs::write(path, wanted).map_err(|error| error.to_string())?;
    Ok(Outcome::Written)
}

/// Puts `body` between the line that `opens` and the line that `closes` accept. Both lines stay.
fn between(
    text: &str,
    opens: impl Fn(&str) -> bool,
    closes: impl Fn(&str) -> bool,
    body: &[String],
) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let open = lines.iter().position(|line| opens(line)).ok_or("the place for it is not there")?;
    let rest = &lines[open + 1..];
    let close = rest.iter().position(|line| closes(line)).ok_or("the place for it has no end")?;
    let mut out: Vec<&str> = lines[..=open].to_vec();
    out.extend(body.iter().map(String::as_str));
    out.extend(&rest[close..]);
    out.push("");
    Ok(out.join("\n"))
}

/// Breaks a text into lines of at most `width` columns.
fn fill(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "a\nopen\nold\nclose\nb\n";
        let body = ["new".to_owned(), "newer".to_owned()];
        let splice = |text| between(text, |line| line == "open", |line| line == "close", &body);
        assert_eq!(splice(text).unwrap(), "a\nopen\nnew\nnewer\nclose\nb\n");
        assert!(splice("a\n").unwrap_err().contains("is not there"));
        assert!(splice("open\n").unwrap_err().contains("has no end"));
    }

    #[test]
    fn a_file_that_differs_is_reported_when_checking_and_written_otherwise() {
        let path = env::temp_dir().join(format!("codegen-{}", std::process::id()));
        fs::write(&path, "old").unwrap();
        let make = |_: &str| Ok("new".to_owned());
        assert_eq!(apply(&path, make, true), Ok(Outcome::Different));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(apply(&path, make, false), Ok(Outcome::Written));
        assert_eq!(apply(&path, make, true), Ok(Outcome::Same));
        assert!(apply(Path::new("/no/such/file"), make, true).is_err());
    }

    #[test]
    fn long_texts_are_broken_between_words() {
        assert_eq!(fill("one two three", 7), ["one two", "three"]);
    }
}
