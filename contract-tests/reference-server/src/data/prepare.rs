//! The inputs of the clients: files of varint-length-delimited messages, the same for every
//! language and the same byte for byte on every machine.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use millstream_proto::logs::v1::{LogBatch, LogEntry, Severity};
use millstream_proto::sync::v1::Record;
use prost::Message;
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::{self, Airline, Airport, Flight, Plane};
use super::{Kind, Source, files, hex, sha256};
use crate::error::{Context, Error};

/// `telemetry.v1.TelemetryReport`, one per flight.
pub const TELEMETRY_REPORTS: &str = "telemetry_reports.binpb";
/// `logs.v1.LogBatch`, one line per flight.
pub const LOG_BATCHES: &str = "log_batches.binpb";
/// `sync.v1.Record`, one per airport and aircraft.
pub const SYNC_RECORDS: &str = "sync_records.binpb";
/// What was written: see [`Manifest`].
pub const MANIFEST: &str = "manifest.json";

/// Lines of a [`LogBatch`]; the last one may have fewer.
pub const ENTRIES_PER_BATCH: usize = 100;

/// Grows with every change of what is written, so that older files are written again.
const VERSION: u32 = 1;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// What the files were made from.
    pub data: Kind,
    /// One per file.
    pub files: Vec<Prepared>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// In the cache.
    pub name: String,
    /// Full name of the message type.
    pub message: String,
    /// How many.
    pub messages: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Of the file.
    pub sha256: String,
}

/// Writes the files into `cache`, from the full data when it is there, else from the excerpt.
/// Leaves files that are there already. The flag says whether something was written.
///
/// # Errors
/// When the data cannot be read or a file cannot be written; what was there before is then left.
pub fn prepare(cache: &Path) -> Result<(Manifest, bool), Error> {
    let source = Source::open(cache);
    if let Some(manifest) = up_to_date(cache, source.kind()) {
        return Ok((manifest, false));
    }
    std::fs::create_dir_all(cache).context(|| format!("cannot create {}", cache.display()))?;

    let mut files = write_flights(&source, cache)?;
    files.push(write_records(&source, cache)?);
    let manifest = Manifest { version: VERSION, data: source.kind(), files };
    let path = cache.join(MANIFEST);
    let mut text = serde_json::to_string_pretty(&manifest).context(|| "manifest".into())?;
    text.push('\n');
    std::fs::write(&path, text).context(|| format!("cannot write {}", path.display()))?;
    Ok((manifest, true))
}

fn up_to_date(cache: &Path, kind: Kind) -> Option<Manifest> {
    let text = std::fs::read_to_string(cache.join(MANIFEST)).ok()?;
    let manifest: Manifest = serde_json::from_str(&text).ok()?;
    let same = manifest.version == VERSION
        && manifest.data == kind
        && manifest.files.iter().all(|file| {
            std::fs::read(cache.join(&file.name))
                .is_ok_and(|content| sha256(&content) == file.sha256)
        });
    same.then_some(manifest)
}

/// The reports and the log lines, in one pass over the flights.
fn write_flights(source: &Source, cache: &Path) -> Result<Vec<Prepared>, Error> {
    let context = FlightContext::read(source)?;
    let mut reports = Output::create(cache, TELEMETRY_REPORTS, "telemetry.v1.TelemetryReport")?;
    let mut batches = Output::create(cache, LOG_BATCHES, "logs.v1.LogBatch")?;
    let mut batch = LogBatch::default();

    let total = match source.kind() {
        Kind::Full => files::FLIGHTS.rows,
        Kind::Excerpt => 0,
    };
    let progress = bar("flights", total);
    for (sequence, flight) in (1..).zip(rows::read::<Flight>(source, &files::FLIGHTS)?) {
        let flight = flight?;
        batch.entries.push(context.log_entry(&flight));
        if batch.entries.len() == ENTRIES_PER_BATCH {
            batches.write(&batch)?;
            batch.entries.clear();
        }
        reports.write(&flight.report(sequence))?;
        progress.inc(1);
    }
    if !batch.entries.is_empty() {
        batches.write(&batch)?;
    }
    progress.finish_and_clear();
    Ok(vec![reports.finish()?, batches.finish()?])
}

fn write_records(source: &Source, cache: &Path) -> Result<Prepared, Error> {
    let mut output = Output::create(cache, SYNC_RECORDS, "sync.v1.Record")?;
    for airport in rows::read::<Airport>(source, &files::AIRPORTS)? {
        let airport = airport?;
        output.write(&record("airport", &airport.faa, &airport)?)?;
    }
    for plane in rows::read::<Plane>(source, &files::PLANES)? {
        let plane = plane?;
        output.write(&record("plane", &plane.tailnum, &plane)?)?;
    }
    output.finish()
}

fn record(kind: &str, key: &str, row: &impl Serialize) -> Result<Record, Error> {
    let key = format!("{kind}/{key}");
    let value = serde_json::to_vec(row).context(|| format!("cannot write {key} as JSON"))?;
    Ok(Record { key, value })
}

/// What is known of those who take part in a flight.
struct FlightContext {
    airlines: HashMap<String, Airline>,
    airports: HashMap<String, Airport>,
    planes: HashMap<String, Plane>,
}

impl FlightContext {
    fn read(source: &Source) -> Result<Self, Error> {
        fn by_key<R: serde::de::DeserializeOwned>(
            source: &Source,
            file: &'static files::DataFile,
            key: impl Fn(&R) -> &String,
        ) -> Result<HashMap<String, R>, Error> {
            rows::read::<R>(source, file)?
                .map(|row| row.map(|row| (key(&row).clone(), row)))
                .collect()
        }
        Ok(Self {
            airlines: by_key(source, &files::AIRLINES, |row: &Airline| &row.carrier)?,
            airports: by_key(source, &files::AIRPORTS, |row: &Airport| &row.faa)?,
            planes: by_key(source, &files::PLANES, |row: &Plane| &row.tailnum)?,
        })
    }

    /// The line that the operations of the airport of origin would log of this departure.
    fn log_entry(&self, flight: &Flight) -> LogEntry {
        let (severity, event) = match (flight.dep_delay, flight.air_time) {
            (None, _) => (Severity::Error, "cancelled".to_owned()),
            (Some(late), None) => {
                (Severity::Warn, format!("departed {} and did not arrive as planned", delay(late)))
            }
            // An hour is where the traffic statistics begin to count a long delay.
            (Some(late), _) if late >= 60 => (Severity::Warn, format!("departed {}", delay(late))),
            (Some(late), _) if late > 0 => (Severity::Info, format!("departed {}", delay(late))),
            (Some(early), _) => (Severity::Debug, format!("departed {}", delay(early))),
        };

        let mut attributes = BTreeMap::new();
        let mut add = |key: &str, value: Option<&String>| {
            if let Some(value) = value {
                attributes.insert(key.to_owned(), value.clone());
            }
        };
        let airline = self.airlines.get(&flight.carrier);
        add("airline", airline.map(|airline| &airline.name));
        let destination = self.airports.get(&flight.dest);
        add("destination", destination.map(|airport| &airport.name));
        add("destination.timezone", destination.and_then(|airport| airport.tzone.as_ref()));
        add("aircraft", flight.tailnum.as_ref());
        let plane = flight.tailnum.as_ref().and_then(|id| self.planes.get(id));
        add("aircraft.manufacturer", plane.map(|p| &p.manufacturer));
        add("aircraft.model", plane.map(|p| &p.model));
        let year = plane.and_then(|p| p.year).map(|year| year.to_string());
        add("aircraft.year", year.as_ref());

        // The hour is UTC, the minute is that of the schedule; a departure is logged when it
        // happens, a cancellation when it was due.
        let minutes = i64::from(flight.minute) + i64::from(flight.dep_delay.unwrap_or(0));
        LogEntry {
            time: Some(Timestamp { seconds: flight.time_hour.seconds + 60 * minutes, nanos: 0 }),
            severity: severity.into(),
            logger: format!("departures.{}", flight.origin),
            message: format!(
                "{}{} {}-{} {event}",
                flight.carrier, flight.flight, flight.origin, flight.dest
            ),
            attributes,
        }
    }
}

fn delay(minutes: i32) -> String {
    match minutes {
        0 => "on time".to_owned(),
        1.. => format!("{minutes} min late"),
        ..0 => format!("{} min early", minutes.unsigned_abs()),
    }
}

/// A file under a passing name until it is complete.
struct Output {
    prepared: Prepared,
    path: std::path::PathBuf,
    file: BufWriter<tempfile::NamedTempFile>,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl Output {
    fn create(cache: &Path, name: &str, message: &str) -> Result<Self, Error> {
        let file = tempfile::NamedTempFile::new_in(cache)
            .context(|| format!("cannot write into {}", cache.display()))?;
        Ok(Self {
            prepared: Prepared {
                name: name.to_owned(),
                message: message.to_owned(),
                messages: 0,
                bytes: 0,
                sha256: String::new(),
            },
            path: cache.join(name),
            file: BufWriter::with_capacity(1 << 20, file),
            hash: Sha256::new(),
            buffer: Vec::new(),
        })
    }

    fn write(&mut self, message: &impl Message) -> Result<(), Error> {
        self.buffer.clear();
        message
            .encode_length_delimited(&mut self.buffer)
            .context(|| format!("cannot encode a message of {}", self.prepared.name))?;
        self.hash.update(&self.buffer);
        self.prepared.messages += 1;
        self.prepared.bytes += self.buffer.len() as u64;
        self.file
            .write_all(&self.buffer)
            .context(|| format!("cannot write {}", self.path.display()))
    }

    fn finish(mut self) -> Result<Prepared, Error> {
        let failed = || format!("cannot write {}", self.path.display());
        let file = self.file.into_inner().map_err(|error| error.into_error());
        let file = file.context(failed)?;
        readable_by_all(file.as_file()).context(failed)?;
        file.persist(&self.path).context(failed)?;
        self.prepared.sha256 = hex(&self.hash.finalize());
        Ok(self.prepared)
    }
}

/// Temporary files are for their owner alone; these are to be shared.
pub(super) fn readable_by_all(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// A progress bar on standard error, when that is a terminal; a spinner when `total` is 0.
pub(super) fn bar(what: &'static str, total: u64) -> ProgressBar {
    let (progress, template) = if total == 0 {
        (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}")
    } else {
        (ProgressBar::new(total), "{msg} [{wide_bar}] {human_pos}/{human_len} {eta}")
    };
    // The templates are constants: one that does not parse falls back to the plain bar.
    let style = ProgressStyle::with_template(template);
    if let Ok(style) = style {
        progress.set_style(style);
    }
    progress.set_message(what);
    progress
}
