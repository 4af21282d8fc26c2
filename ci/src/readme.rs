//! The examples in the guides are the files of examples/: a code block that names a file must be the
//! marked part of it, word for word.
//!
//! In the guide, right above the block:
//!
//! ```text
//! <!-- example: examples/python/readme_example.py -->
//! ```
//!
//! In the file, around the part that is shown, in whatever its comments look like:
//!
//! ```text
//! # readme: begin
//! # readme: end
//! ```

use std::{fs, path::Path};

const OPEN: &str = "<!-- example: ";

/// What is different, a line each, and the text as it should be.
pub fn check(root: &Path, guide: &Path) -> Result<(Vec<String>, String), String> {
    let text = fs::read_to_string(root.join(guide))
        .map_err(|error| format!("{}: {error}", guide.display()))?;
    rewrite(&text, |file| {
        fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))
    })
    .map_err(|error| format!("{}: {error}", guide.display()))
}

/// `text` with every block as its file has it, and a line for each block that was different.
fn rewrite(
    text: &str,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<(Vec<String>, String), String> {
    let mut different = Vec::new();
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        out.push(line.to_owned());
        let Some(file) = line.trim().strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        let place = format!("line {}: the block of {file}", index + 1);
        let fence = match lines.next() {
            Some((_, fence)) if fence.starts_with("```") => fence,
            _ => return Err(format!("{place} does not begin with ``` on the next line")),
        };
        out.push(fence.to_owned());
        let mut block = Vec::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, line)) => block.push(line),
                None => return Err(format!("{place} has no end")),
            }
        }
        let wanted = region(&read(file)?).map_err(|error| format!("{file}: {error}"))?;
        if block != wanted {
            different.push(format!("{place} is not what the file has between its marks"));
        }
        out.extend(wanted);
        out.push("```".to_owned());
    }
    out.push(String::new());
    Ok((different, out.join("\n")))
}

/// The relative links of a guide that lead nowhere, a line each.
pub fn dead_links(root: &Path, guide: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(root.join(guide))
        .map_err(|error| format!("{}: {error}", guide.display()))?;
    let dir = root.join(guide.parent().unwrap_or(Path::new("")));
    Ok(links(&text)
        .filter(|(_, link)| !dir.join(link).exists())
        .map(|(line, link)| format!("line {line}: there is no {link}"))
        .collect())
}

/// The files that a text links to, with the number of the line; not those of other sites.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets
            .map(|target| target.split('#').next().unwrap_or(""))
            .filter(|target| !target.is_empty() && !target.contains("://"))
            .map(move |target| (index + 1, target))
    })
}

/// The lines between the marks, without the indentation that all of them share.
fn region(source: &str) -> Result<Vec<String>, String> {
    let lines: Vec<&str> = source.lines().collect();
    let mark = |mark: &str| lines.iter().position(|line| line.contains(mark));
    let (Some(open), Some(close)) = (mark("readme: begin"), mark("readme: end")) else {
        return Err("has no part between `readme: begin` and `readme: end`".to_owned());
    };
    let inner = lines.get(open + 1..close).ok_or("`readme: end` stands before `readme: begin`")?;
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let shared = inner.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    Ok(inner.iter().map(|line| line.get(shared..).unwrap_or("").to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "import x\n\n    # readme: begin\n    a()\n\n      b()\n    # readme: end\nc()\n";

    fn source(_: &str) -> Result<String, String> {
        Ok(SOURCE.to_owned())
    }

    fn guide(body: &str) -> String {
        format!("# Title\n<!-- example: a.py -->\n```python\n{body}```\nafter\n")
    }

    #[test]
    fn a_block_that_equals_the_marked_part_is_left_alone() {
        let text = guide("a()\n\n  b()\n");
        assert_eq!(rewrite(&text, source), Ok((vec![], text.clone())));
    }

    #[test]
    fn a_block_that_differs_is_reported_and_rewritten() {
        let (different, text) = rewrite(&guide("a()\n"), source).unwrap();
        assert_eq!(
            different,
            ["line 2: the block of a.py is not what the file has between its marks"]
        );
        assert_eq!(text, guide("a()\n\n  b()\n"));
    }

    #[test]
    fn a_file_that_is_not_there_or_has_no_marks_is_an_error() {
        let absent = rewrite(&guide(""), |file| Err(format!("{file}: not there")));
        assert_eq!(absent.unwrap_err(), "a.py: not there");
        let unmarked = rewrite(&guide(""), |_| Ok("a()\n".to_owned()));
        assert!(unmarked.unwrap_err().contains("has no part between"));
    }

    #[test]
    fn links_to_files_are_found_and_those_to_other_sites_are_not_meant() {
        let text = "See [a](a.md) and [b](../b.md#part).\n[site](https://x.y/z) [here](#part)\n";
        assert_eq!(links(text).collect::<Vec<_>>(), [(1, "a.md"), (1, "../b.md")]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_reported_with_its_line() {
        let root = std::env::temp_dir().join(format!("xtask-{}-links", std::process::id()));
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::write(root.join("docs/there.md"), "").unwrap();
        fs::write(root.join("docs/guide.md"), "[1](there.md)\n[2](gone.md)\n").unwrap();
        let lines = dead_links(&root, Path::new("docs/guide.md"));
        assert_eq!(lines.unwrap(), ["line 2: there is no gone.md"]);
    }

    #[test]
    fn a_block_without_an_end_is_an_error() {
        let text = "<!-- example: a.py -->\n```python\na()\n";
        assert!(rewrite(text, source).unwrap_err().contains("has no end"));
        assert!(rewrite("<!-- example: a.py -->\ntext\n", source).is_err());
    }
}
