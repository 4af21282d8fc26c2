//! Which programs must be there, and what to install when one is not.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

/// What the tools are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `make demo`: building everything and running it.
    Demo,
    /// `make test`: the same and the checks.
    Test,
}

/// A program that must be there.
#[derive(Debug)]
pub struct Tool {
    /// The program.
    command: &'static str,
    /// How it is asked for its version.
    version_args: &'static [&'static str],
    /// The lowest version that will do.
    minimum: (u32, u32),
    /// What it is for.
    why: &'static str,
    /// The package of Debian and Ubuntu.
    debian: &'static str,
    /// What to do elsewhere.
    elsewhere: &'static str,
    /// Only the tests need it.
    test_only: bool,
}

const fn tool(
    command: &'static str,
    minimum: (u32, u32),
    why: &'static str,
    debian: &'static str,
    elsewhere: &'static str,
) -> Tool {
    Tool {
        command,
        version_args: &["--version"],
        minimum,
        why,
        debian,
        elsewhere,
        test_only: false,
    }
}

/// Cargo and the C compiler are looked at by ci/bootstrap.sh as well: without them this program
/// cannot be built.
pub const TOOLS: &[Tool] = &[
    tool("cargo", (1, 88), "builds the core and the bindings", "rustup", "https://rustup.rs"),
    Tool {
        test_only: true,
        ..tool("cargo-clippy", (0, 0), "lints Rust", "rust-clippy", "rustup component add clippy")
    },
    Tool {
        test_only: true,
        ..tool("rustfmt", (0, 0), "formats Rust", "rustfmt", "rustup component add rustfmt")
    },
    tool("cc", (0, 0), "compiles C", "gcc", "xcode-select --install"),
    tool("c++", (0, 0), "compiles C++", "g++", "xcode-select --install"),
    tool("make", (0, 0), "runs CMake's builds", "make", "xcode-select --install"),
    tool("cmake", (3, 22), "builds the C tests and examples", "cmake", "brew install cmake"),
    tool(
        "python3",
        (3, 11),
        "runs the Python binding and the build tools",
        "python3",
        "brew install python@3.12",
    ),
    Tool {
        version_args: &["-c", "import ensurepip, venv; print('1.0')"],
        ..tool(
            "python3",
            (0, 0),
            "makes virtual environments (modules venv and ensurepip)",
            "python3-venv",
            "brew install python@3.12",
        )
    },
    Tool {
        version_args: &["-version"],
        ..tool(
            "java",
            (17, 0),
            "runs the Java binding",
            "openjdk-17-jdk-headless",
            "brew install openjdk@17",
        )
    },
    Tool {
        version_args: &["-version"],
        ..tool(
            "javac",
            (17, 0),
            "compiles Java",
            "openjdk-17-jdk-headless",
            "brew install openjdk@17",
        )
    },
    tool("mvn", (3, 6), "builds and tests the jar", "maven", "brew install maven"),
];

/// What a program said about itself: `None` when it is not there or does not run.
pub type Probe<'a> = &'a dyn Fn(&str, &[&str]) -> Option<String>;

/// Runs a program and gives what it said on both outputs.
pub fn probe(command: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(command).args(args).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// A line for every package of which something is missing or too old.
pub fn missing(purpose: Purpose, probe: Probe<'_>) -> Vec<String> {
    let mut named = BTreeSet::new();
    TOOLS
        .iter()
        .filter(|tool| purpose == Purpose::Test || !tool.test_only)
        .filter_map(|tool| complaint(tool, probe).map(|line| (tool.debian, line)))
        // One line for each package: that of the first of its programs.
        .filter(|(package, _)| named.insert(*package))
        .map(|(_, line)| line)
        .collect()
}

fn complaint(tool: &Tool, probe: Probe<'_>) -> Option<String> {
    let Tool { command: name, why, debian, elsewhere, minimum: (major, minor), .. } = tool;
    let install = format!("install the Debian/Ubuntu package `{debian}` (elsewhere: {elsewhere})");
    let Some(said) = probe(name, tool.version_args) else {
        return Some(format!("missing: {name}, which {why}; {install}"));
    };
    if (*major, *minor) == (0, 0) {
        return None;
    }
    match version(&said) {
        Some(version) if version >= (*major, *minor) => None,
        Some((a, b)) => Some(format!(
            "too old: {name} {a}.{b}, which {why}; {major}.{minor} or newer is needed: {install}"
        )),
        None => Some(format!(
            "unknown version: {name}, which {why}, says {:?} where {major}.{minor} or newer is \
             needed: {install}",
            said.lines().next().unwrap_or("")
        )),
    }
}

/// The first number with a dot in a text, or the first number at all.
fn version(said: &str) -> Option<(u32, u32)> {
    let words = said.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let numbers = words.filter_map(|word| {
        let mut parts = word.split('.');
        let major = parts.next()?.parse().ok()?;
        Some((major, parts.next().and_then(|minor| minor.parse().ok())))
    });
    let mut first = None;
    for (major, minor) in numbers {
        match minor {
            Some(minor) => return Some((major, minor)),
            None => first = first.or(Some((major, 0))),
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_there(command: &str, args: &[&str]) -> Option<String> {
        Some(
            match command {
                "cargo" => "cargo 1.95.0 (f2d3ce0bd 2026-03-21)",
                "java" => "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime",
                "javac" => "javac 21",
                "cmake" => "cmake version 3.25.1\n",
                "mvn" => "Apache Maven 3.8.7\nMaven home: /usr/share/maven",
                "python3" if args == ["--version"] => "Python 3.12.1",
                _ => "fine",
            }
            .to_owned(),
        )
    }

    #[test]
    fn a_machine_with_every_tool_has_nothing_to_install() {
        assert_eq!(missing(Purpose::Test, &all_there), Vec::<String>::new());
    }

    #[test]
    fn a_missing_tool_is_one_line_that_names_the_package() {
        let probe = |command: &str, args: &[&str]| {
            if command == "mvn" { None } else { all_there(command, args) }
        };
        assert_eq!(
            missing(Purpose::Demo, &probe),
            ["missing: mvn, which builds and tests the jar; install the Debian/Ubuntu package \
              `maven` (elsewhere: brew install maven)"]
        );
    }

    #[test]
    fn every_package_that_is_missing_gets_one_line() {
        let lines = missing(Purpose::Test, &|_, _| None);
        let packages: BTreeSet<&str> = TOOLS.iter().map(|tool| tool.debian).collect();
        assert_eq!(lines.len(), packages.len());
        for package in packages {
            let of = lines.iter().filter(|line| line.contains(&format!("`{package}`")));
            assert_eq!(of.count(), 1, "{package} in {lines:?}");
        }
        assert!(lines.iter().all(|line| line.lines().count() == 1));
    }

    #[test]
    fn python_without_venv_names_the_package_of_venv() {
        let probe = |command: &str, args: &[&str]| {
            if args.contains(&"-c") { None } else { all_there(command, args) }
        };
        let lines = missing(Purpose::Demo, &probe);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("`python3-venv`"), "{lines:?}");
    }

    #[test]
    fn a_tool_that_is_too_old_says_which_version_is_needed() {
        let probe = |command: &str, args: &[&str]| {
            if command == "java" {
                Some("java version \"1.8.0_392\"".to_owned())
            } else {
                all_there(command, args)
            }
        };
        let lines = missing(Purpose::Demo, &probe);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("too old: java 1.8, "), "{lines:?}");
        assert!(lines[0].contains("17.0 or newer"), "{lines:?}");
    }

    #[test]
    fn the_demo_does_not_ask_for_what_only_the_tests_need() {
        let probe = |command: &str, args: &[&str]| {
            if command == "cargo-clippy" { None } else { all_there(command, args) }
        };
        assert!(missing(Purpose::Demo, &probe).is_empty());
        assert_eq!(missing(Purpose::Test, &probe).len(), 1);
    }

    #[test]
    fn versions_are_read_from_what_programs_say() {
        assert_eq!(version("cmake version 3.25.1"), Some((3, 25)));
        assert_eq!(version("javac 21"), Some((21, 0)));
        assert_eq!(version("no number"), None);
    }
}
