//! Holds the committed header against the error table and against the conventions.

use millstream_boundary::errors;

use crate::status::mill_status;

const HEADER: &str = include_str!("../../include/millstream.h");

fn c_name(number: i32, name: &str) -> String {
    match number {
        0 => "MILL_OK".to_owned(),
        1..100 => format!("MILL_STATUS_{name}"),
        _ => format!("MILL_ERROR_{name}"),
    }
}

#[test]
fn the_enum_of_result_codes_is_the_error_table() {
    let ours: Vec<_> =
        mill_status::ALL.iter().map(|status| (*status as i32, format!("{status:?}"))).collect();
    let table: Vec<_> = errors::TABLE
        .iter()
        .map(|entry| (entry.number, c_name(entry.number, entry.name)))
        .collect();
    assert_eq!(ours, table);
}

#[test]
fn the_header_gives_each_result_code_the_number_and_the_sentence_of_the_table() {
    for entry in errors::TABLE {
        let line = format!("{} = {},", c_name(entry.number, entry.name), entry.number);
        let mut lines = HEADER.lines();
        assert!(lines.any(|l| l.trim() == line), "the header has no {line:?}");
        // The comment stands above the constant, wrapped as it may be.
        let above: Vec<_> = HEADER.lines().take_while(|l| l.trim() != line).collect();
        let start = above.iter().rposition(|l| l.trim() == "/**").unwrap_or(0);
        let comment: Vec<_> = above[start + 1..]
            .iter()
            .map(|l| l.trim().trim_start_matches('*').trim())
            .filter(|l| !l.is_empty() && *l != "/")
            .collect();
        assert_eq!(comment.join(" "), entry.doc, "comment of {line}");
    }
}

/// The functions of the header, each with the comment above it.
fn functions() -> Vec<(String, String)> {
    let mut comment = String::new();
    let mut found = Vec::new();
    for line in HEADER.lines() {
        if line == "/**" {
            comment.clear();
        } else if line.starts_with(" *") {
            comment.push_str(line);
            comment.push('\n');
        } else if line.starts_with(|c: char| c.is_ascii_alphabetic())
            && let Some((before, _)) = line.split_once('(')
        {
            let name = before.rsplit([' ', '*']).next().unwrap_or_default();
            found.push((name.to_owned(), comment.clone()));
        }
    }
    found
}

#[test]
fn every_function_of_the_header_tells_ownership_threads_and_errors() {
    let functions = functions();
    assert!(functions.len() > 40, "only {} functions were found", functions.len());
    for (name, comment) in functions {
        assert!(name.starts_with("mill_"), "{name} has another prefix");
        for section in ["Ownership:", "Threads:", "Errors:"] {
            assert!(comment.contains(section), "{name} does not tell {section}");
        }
    }
}

#[test]
fn every_exported_function_is_in_the_header() {
    let sources = [
        include_str!("batch.rs"),
        include_str!("bytes.rs"),
        include_str!("call.rs"),
        include_str!("channel.rs"),
        include_str!("error.rs"),
        include_str!("metadata.rs"),
        include_str!("options.rs"),
        include_str!("outcome.rs"),
        include_str!("queue.rs"),
        include_str!("receive.rs"),
        include_str!("status.rs"),
        include_str!("version.rs"),
    ];
    let mut exported: Vec<_> = sources
        .iter()
        .flat_map(|source| source.split("extern \"C\" fn ").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .map(str::to_owned)
        .collect();
    let mut declared: Vec<_> = functions().into_iter().map(|(name, _)| name).collect();
    exported.sort();
    declared.sort();
    assert_eq!(exported, declared);
}
