//! The data that the server serves and its clients send: where it comes from and what it holds.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use millstream_proto::market::v1::PriceUpdate;
use millstream_proto::weather::v1::Observation;
use sha2::{Digest, Sha256};

use crate::error::{Context, Error};

pub mod excerpt;
pub mod fetch;
pub mod files;
pub mod prepare;
mod rows;

use files::DataFile;

/// How much of the data there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every row of the published data sets.
    Full,
    /// The few hundred rows that are part of this program.
    Excerpt,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Full => "full",
            Kind::Excerpt => "excerpt",
        })
    }
}

/// Where the CSV files are read from.
#[derive(Debug, Clone)]
pub struct Source {
    directory: Option<PathBuf>,
}

impl Source {
    /// The excerpt.
    pub fn excerpt() -> Self {
        Self { directory: None }
    }

    /// The full data when every file of it is in `cache`, else the excerpt.
    ///
    /// What the files hold is checked by [`read`](Self::read).
    pub fn open(cache: &Path) -> Self {
        let directory = full_directory(cache);
        let complete = files::ALL.iter().all(|f| directory.join(f.name).is_file());
        Self { directory: complete.then_some(directory) }
    }

    /// Full or excerpt.
    pub fn kind(&self) -> Kind {
        match self.directory {
            Some(_) => Kind::Full,
            None => Kind::Excerpt,
        }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not the published file (SHA-256).
    pub fn read(&self, file: &DataFile) -> Result<Cow<'static, [u8]>, Error> {
        let Some(directory) = &self.directory else {
            return Ok(Cow::Borrowed(file.excerpt));
        };
        let path = directory.join(file.name);
        let content = std::fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
        check(&path, &content, file.sha256)?;
        Ok(Cow::Owned(content))
    }
}

/// The unpacked files of the full data.
pub(crate) fn full_directory(cache: &Path) -> PathBuf {
    cache.join("full")
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(path: &Path, content: &[u8], expected: &str) -> Result<(), Error> {
    let found = sha256(content);
    if found == expected {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} is not the published file: its SHA-256 is {found}, expected {expected}; \
         remove it and run `reference-server data fetch` again",
        path.display()
    )))
}

/// What the services answer from.
#[derive(Debug)]
pub struct Data {
    /// Full or excerpt.
    pub kind: Kind,
    /// In the order of the data set.
    pub observations: Vec<Observation>,
    /// By time, then in the order of the symbols in the data set; `sequence` is 0.
    pub ticks: Vec<PriceUpdate>,
    /// In the order of the data set.
    pub symbols: Vec<String>,
}

impl Data {
    /// Reads it.
    ///
    /// # Errors
    /// Those of [`Source::read`], and a row that cannot be understood, with file and line.
    pub fn load(source: &Source) -> Result<Self, Error> {
        let observations = rows::read::<rows::Weather>(source, &files::WEATHER)?
            .map(|row| row.map(Observation::from))
            .collect::<Result<Vec<_>, _>>()?;

        let mut symbols: Vec<String> = Vec::new();
        let mut ticks = Vec::new();
        for row in rows::read::<rows::Stock>(source, &files::STOCKS)? {
            let tick = PriceUpdate::from(row?);
            let known = symbols.iter().position(|symbol| *symbol == tick.symbol);
            let index = known.unwrap_or_else(|| {
                symbols.push(tick.symbol.clone());
                symbols.len() - 1
            });
            ticks.push((index, tick));
        }
        ticks.sort_by_key(|(index, tick)| (tick.time.map(|time| time.seconds), *index));
        Ok(Self {
            kind: source.kind(),
            observations,
            ticks: ticks.into_iter().map(|(_, tick)| tick).collect(),
            symbols,
        })
    }
}
