//! How the committed excerpt is made from the full data.

use std::collections::HashSet;
use std::path::Path;

use super::files::{AIRLINES, AIRPORTS, DataFile, FLIGHTS, PLANES, STOCKS, WEATHER};
use super::{Kind, Source};
use crate::error::{Context, Error};

/// Writes the excerpt of the full data in `cache` into `out`: unchanged lines of the published
/// files, in their order.
///
/// Every 120th observation and those with neither temperature nor wind; every 1,200th flight and
/// some that were cancelled; what these refer to of airlines, airports and planes; all prices.
///
/// # Errors
/// When the cache does not hold the full data, or a file cannot be read or written.
pub fn write(cache: &Path, out: &Path) -> Result<(), Error> {
    let source = Source::open(cache);
    if source.kind() != Kind::Full {
        return Err(Error::new(format!(
            "{} does not hold the full data; run `reference-server data fetch --cache {}` first",
            cache.display(),
            cache.display()
        )));
    }

    let save = |file: &DataFile, text: String| {
        let path = out.join(file.name);
        std::fs::write(&path, text).context(|| format!("cannot write {}", path.display()))
    };
    let weather =
        pick(&source, &WEATHER, |index, row| index % 120 == 0 || row[5] == "NA" || row[9] == "NA")?;
    let mut named = HashSet::new();
    let flights = pick(&source, &FLIGHTS, |index, row| {
        let taken = index % 1_200 == 0 || (row[3] == "NA" && index % 500 == 0);
        if taken {
            // Carrier, tail number, origin, destination.
            named.extend([9, 11, 12, 13].map(|column| row[column].to_owned()));
        }
        taken
    })?;
    save(&WEATHER, weather)?;
    save(&FLIGHTS, flights)?;
    for file in [&AIRLINES, &AIRPORTS, &PLANES] {
        save(file, pick(&source, file, |_, row| named.contains(row[0]))?)?;
    }
    save(&STOCKS, pick(&source, &STOCKS, |_, _| true)?)
}

/// The header and the lines that are wanted. No field of these files is quoted.
fn pick(
    source: &Source,
    file: &DataFile,
    mut wanted: impl FnMut(usize, &[&str]) -> bool,
) -> Result<String, Error> {
    let content = source.read(file)?;
    let text = std::str::from_utf8(&content).context(|| format!("{} is not text", file.name))?;
    let mut picked = String::new();
    for (line_index, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        if line_index == 0 || wanted(line_index - 1, &fields) {
            picked.push_str(line);
            picked.push('\n');
        }
    }
    Ok(picked)
}
