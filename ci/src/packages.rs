//! System packages beyond the toolchains: the one list of them, and how they get installed.

use std::{path::Path, time::Duration};

use crate::{
    process::{Cmd, Failure},
    steps::Cx,
    toolchain::{Probe, Purpose},
};

/// A system package.
#[derive(Debug)]
struct Package {
    /// Its name in Debian and Ubuntu.
    debian: &'static str,
    /// Its name in Homebrew; none where it does not exist.
    brew: Option<&'static str>,
    /// How it is seen to be there where there is no dpkg.
    probe: (&'static str, &'static [&'static str]),
    /// Only the tests need it.
    test_only: bool,
}

const PACKAGES: &[Package] = &[
    // Finds the C library in the example and in the tests of the packaging.
    Package {
        debian: "pkg-config",
        brew: Some("pkgconf"),
        probe: ("pkg-config", &["--version"]),
        test_only: false,
    },
    // The messages of the example and of the tests in C.
    Package {
        debian: "libprotobuf-c-dev",
        brew: Some("protobuf-c"),
        probe: ("pkg-config", &["--exists", "libprotobuf-c"]),
        test_only: false,
    },
    Package {
        debian: "protobuf-c-compiler",
        brew: Some("protobuf-c"),
        probe: ("protoc-gen-c", &["--version"]),
        test_only: false,
    },
    Package {
        debian: "protobuf-compiler",
        brew: Some("protobuf"),
        probe: ("protoc", &["--version"]),
        test_only: false,
    },
    // The well-known types that the messages import.
    Package {
        debian: "libprotobuf-dev",
        brew: Some("protobuf"),
        probe: ("pkg-config", &["--exists", "protobuf"]),
        test_only: false,
    },
    // The checksum of the demo in C.
    Package {
        debian: "zlib1g-dev",
        brew: Some("zlib"),
        probe: ("pkg-config", &["--exists", "zlib"]),
        test_only: false,
    },
    // Reads the ready lines of the servers in the C tests.
    Package {
        debian: "libcjson-dev",
        brew: Some("cjson"),
        probe: ("pkg-config", &["--exists", "libcjson"]),
        test_only: true,
    },
    // The C tests run once more under it.
    Package {
        debian: "valgrind",
        brew: None,
        probe: ("valgrind", &["--version"]),
        test_only: true,
    },
];

/// What kind of machine it is, as far as packages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Debian or Ubuntu, as root: packages can be installed.
    AptAsRoot,
    /// Debian or Ubuntu, as another user.
    Apt,
    /// Anything else.
    Other,
}

impl Manager {
    /// That of this machine.
    pub fn here() -> Manager {
        if !Path::new("/usr/bin/dpkg-query").exists() {
            Manager::Other
        } else if rustix::process::geteuid().is_root() {
            Manager::AptAsRoot
        } else {
            Manager::Apt
        }
    }
}

/// The packages that are missing, by the name that this machine's manager has for them.
fn missing(purpose: Purpose, manager: Manager, probe: Probe<'_>) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = PACKAGES
        .iter()
        .filter(|package| purpose == Purpose::Test || !package.test_only)
        .filter_map(|package| match manager {
            Manager::Other => {
                let name = package.brew?;
                probe(package.probe.0, package.probe.1).is_none().then_some(name)
            }
            Manager::Apt | Manager::AptAsRoot => {
                let args = ["--show", "--showformat=${db:Status-Status}", package.debian];
                let said = probe("dpkg-query", &args);
                (said.as_deref() != Some("installed")).then_some(package.debian)
            }
        })
        .collect();
    names.dedup();
    names
}

/// The one line that a user without the rights has to run.
fn instruction(manager: Manager, names: &[&str]) -> String {
    let names = names.join(" ");
    match manager {
        Manager::Other => format!(
            "missing system packages; with Homebrew: brew install {names} (with another package \
             manager: the packages of the same libraries)"
        ),
        Manager::Apt | Manager::AptAsRoot => format!(
            "missing system packages: sudo apt-get install -y --no-install-recommends {names}"
        ),
    }
}

/// Sees to it that the packages are there: installs them where that is possible without asking,
/// and says what to run where it is not.
pub fn ensure(cx: &mut Cx<'_>, purpose: Purpose, probe: Probe<'_>) -> Result<String, Failure> {
    let manager = Manager::here();
    let names = missing(purpose, manager, probe);
    if names.is_empty() {
        return Ok("nothing to install".to_owned());
    }
    if manager != Manager::AptAsRoot {
        return Err(Failure::new(instruction(manager, &names)));
    }
    let apt = |args: &[&str]| {
        Cmd::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .limit(Duration::from_secs(15 * 60))
    };
    let install = [&["install", "-y", "--no-install-recommends"], names.as_slice()].concat();
    // The lists of packages may be missing or old; they are fetched only when they are in the way.
    if cx.run(apt(&install)).is_err() {
        let remedy = "see whether this machine reaches its package mirror, then run it again";
        cx.run(apt(&["update"])).map_err(|failure| failure.remedy(remedy))?;
        cx.run(apt(&install)).map_err(|failure| failure.remedy(instruction(manager, &names)))?;
    }
    Ok(format!("installed {}", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: Probe<'static> = &|_, _| Some("installed".to_owned());

    #[test]
    fn nothing_is_missing_where_everything_is_installed() {
        for manager in [Manager::Apt, Manager::Other] {
            assert!(missing(Purpose::Test, manager, INSTALLED).is_empty());
        }
    }

    #[test]
    fn a_missing_package_is_named_in_one_line_to_run() {
        let probe: Probe<'_> =
            &|_, args| (!args.contains(&"valgrind")).then(|| "installed".to_owned());
        let names = missing(Purpose::Test, Manager::Apt, probe);
        assert_eq!(
            instruction(Manager::Apt, &names),
            "missing system packages: sudo apt-get install -y --no-install-recommends valgrind"
        );
    }

    #[test]
    fn a_package_that_was_removed_but_left_its_settings_is_missing() {
        let names = missing(Purpose::Demo, Manager::Apt, &|_, _| Some("config-files".to_owned()));
        assert!(names.contains(&"libprotobuf-c-dev"), "{names:?}");
    }

    #[test]
    fn the_demo_does_not_ask_for_what_only_the_tests_need() {
        let none: Probe<'_> = &|_, _| None;
        assert!(!missing(Purpose::Demo, Manager::Apt, none).contains(&"valgrind"));
        assert!(missing(Purpose::Test, Manager::Apt, none).contains(&"valgrind"));
    }

    #[test]
    fn elsewhere_each_package_is_named_once_and_only_if_it_exists_there() {
        let names = missing(Purpose::Test, Manager::Other, &|_, _| None);
        assert_eq!(names, ["pkgconf", "protobuf-c", "protobuf", "zlib", "cjson"]);
        assert!(
            instruction(Manager::Other, &names)
                .contains("brew install pkgconf protobuf-c protobuf zlib cjson")
        );
    }
}
