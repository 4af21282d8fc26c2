//! Every step there is, in the order in which they run.

use crate::{process::Failure, steps::Step};

mod build;
mod checks;
mod examples;
mod tests;

pub use build::examples_c;
pub use tests::fuzz;

/// The guides whose examples are checked against the files of examples/.
pub const GUIDES: &[&str] = &["README.md"];

/// What `make lint` runs.
pub const LINT: &[&str] = &[
    "fmt-rust",
    "fmt-python",
    "fmt-c",
    "fmt-java",
    "layers",
    "readme",
    "lint-rust",
    "lint-python",
    "types-python",
    "lint-java",
];

/// What `xtask setup` runs.
pub const SETUP_TEST: &[&str] = &["packages", "venv", "cbindgen"];
/// What `xtask setup demo` runs.
pub const SETUP_DEMO: &[&str] = &["packages", "venv"];

/// Steps that are no part of a test: they change the checkout, or are for the demo alone.
const ASIDE: &[&str] = &["write-header", "write-errors", "data-excerpt"];

/// All of them.
pub fn all() -> Vec<Step> {
    let mut steps = checks::steps();
    steps.extend(build::steps());
    steps.extend(tests::steps());
    steps.extend(examples::steps());
    steps
}

/// What `make test` runs.
pub fn test() -> Vec<Step> {
    all().into_iter().filter(|step| !ASIDE.contains(&step.id)).collect()
}

/// What `make fmt` runs.
pub fn format() -> Result<Vec<Step>, Failure> {
    let mut steps = with_needs(all(), &["venv"])?;
    steps.extend(checks::format());
    Ok(steps)
}

/// These steps alone, in their order.
pub fn exactly(steps: Vec<Step>, ids: &[&str]) -> Result<Vec<Step>, Failure> {
    known(&steps, ids)?;
    Ok(steps.into_iter().filter(|step| ids.contains(&step.id)).collect())
}

/// These steps and all that they need, in their order.
pub fn with_needs(steps: Vec<Step>, ids: &[&str]) -> Result<Vec<Step>, Failure> {
    known(&steps, ids)?;
    let mut wanted: Vec<&str> = ids.to_vec();
    let mut next = 0;
    while let Some(id) = wanted.get(next).copied() {
        next += 1;
        for step in steps.iter().filter(|step| step.id == id) {
            for need in step.needs {
                if !wanted.contains(need) {
                    wanted.push(need);
                }
            }
        }
    }
    let keep: Vec<bool> = steps.iter().map(|step| wanted.contains(&step.id)).collect();
    Ok(steps.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(step, _)| step).collect())
}

fn known(steps: &[Step], ids: &[&str]) -> Result<(), Failure> {
    for id in ids {
        if !steps.iter().any(|step| step.id == *id) {
            let names: Vec<&str> = steps.iter().map(|step| step.id).collect();
            return Err(Failure::new(format!("there is no step {id:?}"))
                .remedy(format!("name one of: {}", names.join(" "))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use std::collections::BTreeSet;

    use super::*;
    use crate::count::Language;

    fn ids(steps: &[Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.id).collect()
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let steps = all();
        let names: BTreeSet<&str> = steps.iter().map(|step| step.id).collect();
        assert_eq!(names.len(), steps.len());
    }

    #[test]
    fn whatever_a_step_needs_comes_before_it() {
        let steps = all();
        for (index, step) in steps.iter().enumerate() {
            for need in step.needs {
                let place = steps.iter().position(|other| other.id == *need);
                assert!(place.is_some_and(|place| place < index), "{} needs {need}", step.id);
            }
        }
    }

    #[test]
    fn every_list_names_steps_that_exist() {
        for list in [LINT, SETUP_TEST, SETUP_DEMO, ASIDE] {
            assert!(with_needs(all(), list).is_ok(), "{list:?}");
        }
        for languages in [&["rust"][..], &["python"], &["java"], &["c"]] {
            for excerpt in [false, true] {
                assert!(with_needs(all(), &crate::demo::needs(languages, excerpt)).is_ok());
            }
        }
    }

    #[test]
    fn the_test_runs_tests_in_every_language_and_writes_nothing() {
        let steps = test();
        let languages: BTreeSet<Language> =
            steps.iter().flat_map(|step| step.languages.iter().copied()).collect();
        assert_eq!(
            languages,
            BTreeSet::from([
                Language::Rust,
                Language::Python,
                Language::Java,
                Language::C,
                Language::Cpp
            ])
        );
        assert!(ids(&steps).iter().all(|id| !id.starts_with("write-")));
    }

    #[test]
    fn a_step_brings_along_what_it_needs() {
        let chosen = ids(&with_needs(test(), &["test-python"]).unwrap());
        assert!(chosen.starts_with(&["packages"]), "{chosen:?}");
        assert!(chosen.contains(&"wheel") && !chosen.contains(&"jar"), "{chosen:?}");
        assert_eq!(ids(&exactly(test(), &["test-python"]).unwrap()), ["test-python"]);
    }

    #[test]
    fn an_unknown_step_is_an_error_that_names_the_known_ones() {
        let failure = with_needs(test(), &["test-cobol"]).map(|_| ()).unwrap_err();
        assert!(failure.what.contains("test-cobol"), "{failure}");
        assert!(failure.remedy.unwrap().contains("test-python"));
    }
}
