//! What the scenario programs say, and whether they all saw the same.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;

/// The six services, in the order of the table.
pub const SERVICES: [&str; 6] = [
    "weather.v1.Weather",
    "logs.v1.LogCollector",
    "chat.v1.ChatService",
    "market.v1.MarketData",
    "telemetry.v1.DeviceManager",
    "sync.v1.DataSync",
];

const WEATHER: &str = SERVICES[0];
const TELEMETRY: &str = SERVICES[4];

/// How many hourly observations the whole data has.
pub const OBSERVATIONS: u64 = 26_115;
/// How many flights the whole data has.
pub const FLIGHTS: u64 = 336_776;
/// After the stream the scenario asks for every thousandth observation once more, by a unary call.
const LOOKUPS: u64 = OBSERVATIONS.div_ceil(1_000);

/// What one language received from one service: a line that a scenario program prints.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// "rust", "python", "java" or "c".
    pub language: String,
    /// One of [`SERVICES`].
    pub service: String,
    /// How many messages came.
    pub messages: u64,
    /// How long it took.
    pub seconds: f64,
    /// The CRC-32 of all that came, eight hexadecimal digits.
    pub crc32: String,
}

/// Reads the standard output of a scenario program.
pub fn parse(output: &str) -> Result<Vec<Received>, String> {
    output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error} in {line:?}")))
        .collect()
}

/// How far a scenario program is: a line of its standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// One of [`SERVICES`].
    pub service: String,
    /// Messages so far.
    pub done: u64,
    /// Messages in all.
    pub total: u64,
}

impl Progress {
    /// Reads `progress <service> <done> <total>`; anything else is some other output.
    pub fn parse(line: &str) -> Option<Progress> {
        let mut words = line.strip_prefix("progress ")?.split_whitespace();
        let progress = Progress {
            service: words.next()?.to_owned(),
            done: words.next()?.parse().ok()?,
            total: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(progress)
    }
}

/// Which data the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// All of it.
    Full,
    /// The excerpt that is part of the checkout.
    Excerpt,
}

/// What came out of a demo.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything that is not as it should be, a line each. Empty: it holds.
    pub problems: Vec<String>,
}

/// Compares what the languages received. `languages` are those that should have run.
pub fn judge(received: &[Received], languages: &[&str], data: Data) -> Verdict {
    let mut problems = Vec::new();
    let mut cells: BTreeMap<(&str, &str), &Received> = BTreeMap::new();
    for row in received {
        let (language, service) = (row.language.as_str(), row.service.as_str());
        if !SERVICES.contains(&service) {
            problems.push(format!("{language} reports an unknown service {service:?}"));
        } else if cells.insert((service, language), row).is_some() {
            problems.push(format!("{language} reports {service} twice"));
        }
    }
    for service in SERVICES {
        let of = |language: &&str| cells.get(&(service, *language)).copied();
        for language in languages.iter().filter(|language| of(language).is_none()) {
            problems.push(format!("{language} reports nothing for {service}"));
        }
        let rows: Vec<&Received> = languages.iter().filter_map(of).collect();
        if let Some(line) = differing(&rows, |row| row.messages.to_string()) {
            problems.push(format!("{service}: the numbers of messages differ: {line}"));
        }
        if let Some(line) = differing(&rows, |row| row.crc32.clone()) {
            problems.push(format!("{service}: the checksums differ: {line}"));
        }
        for row in rows.iter().filter(|row| row.messages == 0) {
            problems.push(format!("{} received no message from {service}", row.language));
        }
        let whole = match service {
            WEATHER => Some((OBSERVATIONS + LOOKUPS, "observations, streamed and looked up")),
            TELEMETRY => Some((FLIGHTS, "flights")),
            _ => None,
        };
        if let (Data::Full, Some((whole, what))) = (data, whole) {
            for row in rows.iter().filter(|row| row.messages != whole) {
                problems.push(format!(
                    "{} received {} of {} {what}",
                    row.language,
                    grouped(row.messages),
                    grouped(whole)
                ));
            }
        }
    }
    Verdict { problems }
}

/// `a=1 b=2` when the values are not all the same.
fn differing(rows: &[&Received], value: impl Fn(&Received) -> String) -> Option<String> {
    let first = rows.first().map(|row| value(row))?;
    if rows.iter().all(|row| value(row) == first) {
        return None;
    }
    let all: Vec<String> =
        rows.iter().map(|row| format!("{}={}", row.language, value(row))).collect();
    Some(all.join(" "))
}

/// The table: a row for each service and language.
pub fn table(received: &[Received], languages: &[&str]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<27} {:<8} {:>10} {:>9} {:>12}  {:<8}",
        "service", "language", "messages", "seconds", "messages/s", "crc32"
    );
    for service in SERVICES {
        for language in languages {
            let mut rows =
                received.iter().filter(|row| row.service == service && row.language == *language);
            let Some(row) = rows.next() else {
                let _ = writeln!(text, "{service:<27} {language:<8} {:>10}", "nothing");
                continue;
            };
            let _ = writeln!(
                text,
                "{service:<27} {language:<8} {:>10} {:>9.3} {:>12}  {:<8}",
                grouped(row.messages),
                row.seconds,
                rate(row.messages, row.seconds),
                row.crc32
            );
        }
    }
    text
}

/// Messages per second: whole ones, or with a decimal when there are few.
pub fn rate(messages: u64, seconds: f64) -> String {
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    let rate = messages as f64 / seconds;
    if rate < 10.0 { format!("{rate:.1}") } else { grouped(rate.round() as u64) }
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: [&str; 4] = ["rust", "python", "java", "c"];

    fn messages(service: &str) -> u64 {
        match service {
            WEATHER => OBSERVATIONS + LOOKUPS,
            TELEMETRY => FLIGHTS,
            _ => 1_000,
        }
    }

    fn good() -> Vec<Received> {
        let row = |language: &str, service: &str| Received {
            language: language.to_owned(),
            service: service.to_owned(),
            messages: messages(service),
            seconds: 0.5,
            crc32: format!("{:08x}", service.len()),
        };
        LANGUAGES
            .iter()
            .flat_map(|language| SERVICES.iter().map(move |service| row(language, service)))
            .collect()
    }

    fn change(
        language: &str,
        service: &str,
        change: impl FnOnce(&mut Received),
    ) -> (Vec<String>, String) {
        let mut rows = good();
        let row = rows.iter_mut().find(|row| row.language == language && row.service == service);
        change(row.unwrap());
        let verdict = judge(&rows, &LANGUAGES, Data::Full);
        (verdict.problems, table(&rows, &LANGUAGES))
    }

    #[test]
    fn languages_that_saw_the_same_pass() {
        assert_eq!(judge(&good(), &LANGUAGES, Data::Full).problems, Vec::<String>::new());
    }

    #[test]
    fn a_different_checksum_is_a_problem_that_names_who_saw_what() {
        let (problems, _) =
            change("java", "sync.v1.DataSync", |row| row.crc32 = "deadbeef".to_owned());
        assert_eq!(
            problems,
            [
                "sync.v1.DataSync: the checksums differ: rust=00000010 python=00000010 java=deadbeef c=00000010"
            ]
        );
    }

    #[test]
    fn a_different_number_of_messages_is_a_problem() {
        let (problems, _) = change("c", "chat.v1.ChatService", |row| row.messages = 999);
        assert_eq!(
            problems,
            [
                "chat.v1.ChatService: the numbers of messages differ: rust=1000 python=1000 java=1000 c=999"
            ]
        );
    }

    #[test]
    fn a_missing_service_is_a_problem_and_shows_in_the_table() {
        let rows: Vec<Received> = good()
            .into_iter()
            .filter(|row| !(row.language == "python" && row.service == SERVICES[1]))
            .collect();
        let verdict = judge(&rows, &LANGUAGES, Data::Full);
        assert_eq!(verdict.problems, ["python reports nothing for logs.v1.LogCollector"]);
        assert!(table(&rows, &LANGUAGES).contains("python      nothing\n"));
    }

    #[test]
    fn a_language_that_said_nothing_is_missing_everywhere() {
        let rows: Vec<Received> = good().into_iter().filter(|row| row.language != "rust").collect();
        assert_eq!(judge(&rows, &LANGUAGES, Data::Full).problems.len(), SERVICES.len());
    }

    #[test]
    fn the_same_service_twice_and_an_unknown_service_are_problems() {
        let mut rows = good();
        rows.push(rows[0].clone());
        let mut unknown = rows[1].clone();
        unknown.service = "billing".to_owned();
        rows.push(unknown);
        let verdict = judge(&rows, &LANGUAGES, Data::Full);
        assert_eq!(
            verdict.problems,
            [
                "rust reports weather.v1.Weather twice",
                "rust reports an unknown service \"billing\""
            ]
        );
    }

    #[test]
    fn no_message_at_all_is_a_problem_even_when_all_agree() {
        let mut rows = good();
        for row in rows.iter_mut().filter(|row| row.service == SERVICES[3]) {
            row.messages = 0;
        }
        let verdict = judge(&rows, &LANGUAGES, Data::Full);
        assert_eq!(verdict.problems.len(), 4);
        assert_eq!(verdict.problems[0], "rust received no message from market.v1.MarketData");
    }

    #[test]
    fn with_all_the_data_every_observation_and_flight_must_come() {
        let mut rows = good();
        for row in rows.iter_mut().filter(|row| row.service == TELEMETRY) {
            row.messages -= 1;
        }
        let full = judge(&rows, &LANGUAGES, Data::Full);
        assert_eq!(full.problems.len(), 4);
        assert_eq!(full.problems[0], "rust received 336,775 of 336,776 flights");
        assert!(judge(&rows, &LANGUAGES, Data::Excerpt).problems.is_empty());
    }

    #[test]
    fn the_table_has_a_row_for_each_language_and_service() {
        let text = table(&good(), &LANGUAGES);
        assert_eq!(text.lines().count(), 1 + 24);
        assert!(text.contains(
            "telemetry.v1.DeviceManager  c           336,776     0.500      673,552  0000001a"
        ));
    }

    #[test]
    fn lines_of_a_program_are_read_and_other_lines_are_errors() {
        let line = r#"{"language":"c","service":"chat.v1.ChatService","messages":5,"seconds":0.1,"crc32":"00ff00ff"}"#;
        assert_eq!(parse(&format!("{line}\n\n{line}\n")).unwrap().len(), 2);
        assert!(parse("hello").unwrap_err().contains("hello"));
        assert!(parse(r#"{"language":"c"}"#).is_err());
    }

    #[test]
    fn progress_lines_are_told_from_other_output() {
        assert_eq!(
            Progress::parse("progress chat.v1.ChatService 10 200"),
            Some(Progress { service: "chat.v1.ChatService".to_owned(), done: 10, total: 200 })
        );
        for other in [
            "progress",
            "progress chat.v1.ChatService ten 200",
            "progress chat.v1.ChatService 1 2 3",
            "warning: 1 2 3",
        ] {
            assert_eq!(Progress::parse(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(26_115), "26,115");
        assert_eq!(rate(10, 0.0), "-");
        assert_eq!(rate(1, 2.0), "0.5");
        assert_eq!(rate(30_000, 2.0), "15,000");
    }
}
