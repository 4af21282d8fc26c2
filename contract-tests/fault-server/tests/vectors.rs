//! The shared vectors and the server's list of faults speak of the same things.

use std::collections::{BTreeSet, HashSet};

use fault_server::{FaultServer, SERVICE, faults, knows, vectors};

const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn cases() -> Vec<vectors::Case> {
    vectors::load().expect("faults.json is as its format says")
}

#[test]
fn every_case_is_well_formed_and_has_a_name_of_its_own() {
    let mut names = HashSet::new();
    let listeners: HashSet<_> = FaultServer::listeners().map(|(name, _)| name).collect();
    for case in cases() {
        let name = &case.name;
        assert!(names.insert(name.clone()), "two cases are called {name:?}");
        assert!(listeners.contains(&*case.listener), "{name}: no listener {:?}", case.listener);
        let one_request = match &*case.kind {
            "unary" | "server_stream" => true,
            "client_stream" | "bidi" => false,
            other => panic!("{name}: no kind {other:?}"),
        };
        let sent = case.requests.len() * case.request_repeat;
        assert!(!one_request || sent == 1, "{name}: {} takes one request, not {sent}", case.kind);
        assert!(case.half_close || !one_request, "{name}: {} half-closes by itself", case.kind);
        assert!(case.calls >= 1, "{name}: no call");
        let expect = &case.expect;
        assert!(
            expect.code.is_some() == expect.code_any_of.is_empty(),
            "{name}: either code or code_any_of"
        );
        for code in expect.codes() {
            assert!(CODES.contains(&code), "{name}: no code {code:?}");
        }
        assert!(!expect.note.is_empty(), "{name}: no clause");
        let one_response = matches!(&*case.kind, "unary" | "client_stream");
        if one_response && let Some(messages) = expect.messages {
            let wanted = usize::from(expect.codes() == ["OK"]);
            assert_eq!(messages, wanted, "{name}: messages of a call with one response");
        }
    }
}

#[test]
fn every_path_of_a_case_names_a_fault_with_an_argument_that_it_takes() {
    for case in cases() {
        let unknown_on_purpose = case.name.starts_with("an unknown ");
        assert_eq!(knows(&case.path), !unknown_on_purpose, "{}: {}", case.name, case.path);
    }
}

#[test]
fn every_fault_and_every_listener_has_a_case() {
    let cases = cases();
    let named: BTreeSet<_> = cases
        .iter()
        .filter_map(|case| case.path.strip_prefix(SERVICE))
        .map(|method| method.split('-').next().unwrap_or(method))
        .collect();
    // Looked at by drivers to count attempts; it is no fault.
    let helpers = ["Seen"];
    let without: Vec<_> = faults()
        .map(|fault| fault.name)
        .filter(|name| !named.contains(name) && !helpers.contains(name))
        .collect();
    assert!(without.is_empty(), "faults without a case: {without:?}");

    let used: BTreeSet<_> = cases.iter().map(|case| &*case.listener).collect();
    let without: Vec<_> = FaultServer::listeners()
        .map(|(name, _)| name)
        .filter(|name| !used.contains(name))
        .collect();
    assert!(without.is_empty(), "listeners without a case: {without:?}");
}

#[test]
fn every_alternative_of_an_argument_is_taken_and_has_a_case() {
    let paths: HashSet<_> = cases().into_iter().map(|case| case.path).collect();
    for fault in
        faults().filter(|fault| !fault.argument.contains('<') && !fault.argument.is_empty())
    {
        for argument in fault.argument.split('|').map(str::trim) {
            let path = format!("{SERVICE}{}-{argument}", fault.name);
            assert!(knows(&path), "{path} is documented and not taken");
            assert!(paths.contains(&path), "{path} has no case");
        }
        let path = format!("{SERVICE}{}-nonsense", fault.name);
        assert!(!knows(&path), "{path} is taken");
    }
}
