//! How many tests ran, read from what each test runner reports.

use std::{
    fmt,
    ops::{Add, AddAssign},
};

/// The languages whose tests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// Rust.
    Rust,
    /// Python.
    Python,
    /// Java.
    Java,
    /// C.
    C,
    /// C++.
    Cpp,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Language::Rust => "Rust",
            Language::Python => "Python",
            Language::Java => "Java",
            Language::C => "C",
            Language::Cpp => "C++",
        })
    }
}

/// Tests that passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed, or ended with an error.
    pub failed: u64,
    /// Skipped or ignored.
    pub skipped: u64,
}

impl Tally {
    /// How many ran.
    pub fn ran(self) -> u64 {
        self.passed + self.failed
    }
}

impl Add for Tally {
    type Output = Tally;
    fn add(self, other: Tally) -> Tally {
        Tally {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)?;
        if self.failed > 0 {
            write!(f, ", {} FAILED", self.failed)?;
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Adds up the result lines of `cargo test`.
pub fn from_cargo_test(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines() {
        // test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...
        let Some(rest) = line.trim().strip_prefix("test result: ") else { continue };
        let Some((_, counts)) = rest.split_once(". ") else { continue };
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" => tally.skipped += number,
                _ => {}
            }
        }
    }
    tally
}

/// Counts the test cases of a JUnit report whose name is accepted.
pub fn from_junit(xml: &str, accept: impl Fn(&str) -> bool) -> Result<Tally, String> {
    let document = roxmltree::Document::parse(xml).map_err(|error| error.to_string())?;
    let mut tally = Tally::default();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        if !accept(case.attribute("name").unwrap_or("")) {
            continue;
        }
        let has = |tag: &str| case.children().any(|child| child.has_tag_name(tag));
        // CTest says "fail" and "disabled" in an attribute as well.
        let status = case.attribute("status").unwrap_or("");
        if has("failure") || has("error") || status == "fail" {
            tally.failed += 1;
        } else if has("skipped") || matches!(status, "notrun" | "disabled") {
            tally.skipped += 1;
        } else {
            tally.passed += 1;
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tests_of_several_binaries_add_up() {
        let output = "
running 3 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s
   Doc-tests millstream
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s
";
        assert_eq!(from_cargo_test(output), Tally { passed: 6, failed: 1, skipped: 1 });
    }

    #[test]
    fn output_without_tests_counts_none() {
        assert_eq!(from_cargo_test("error: could not compile `x`").ran(), 0);
    }

    #[test]
    fn a_junit_report_counts_failures_errors_and_skips() {
        let xml = r#"<testsuites><testsuite tests="5">
            <testcase name="a"/><testcase name="b"><failure/></testcase>
            <testcase name="c"><error/></testcase><testcase name="d"><skipped/></testcase>
            <testcase name="e"><system-out>said</system-out></testcase>
            </testsuite></testsuites>"#;
        let tally = from_junit(xml, |_| true).unwrap();
        assert_eq!(tally, Tally { passed: 2, failed: 2, skipped: 1 });
    }

    #[test]
    fn names_tell_c_from_cpp_in_a_report_of_ctest() {
        let xml = r#"<testsuite>
            <testcase name="c.calls.unary" status="run"><system-out/></testcase>
            <testcase name="cpp.raii" status="fail"/>
            <testcase name="cpp.off" status="disabled"/>
            </testsuite>"#;
        let of = |start: &str| from_junit(xml, |name| name.starts_with(start)).unwrap();
        assert_eq!(of("c."), Tally { passed: 1, failed: 0, skipped: 0 });
        assert_eq!(of("cpp."), Tally { passed: 0, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_report_that_is_no_xml_is_an_error() {
        assert!(from_junit("<testsuite>", |_| true).is_err());
    }
}
