//! The rows of the CSV files, and what they become on the wire.

use std::fmt::Display;
use std::io::Cursor;
use std::str::FromStr;

use millstream_proto::market::v1::PriceUpdate;
use millstream_proto::telemetry::v1::TelemetryReport;
use millstream_proto::weather::v1::Observation;
use prost_types::Timestamp;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::Source;
use super::files::DataFile;
use crate::error::{Context, Error};

/// The rows of a file, in its order. The file is read and checked at once, a row when it is taken.
pub(crate) fn read<R: DeserializeOwned>(
    source: &Source,
    file: &'static DataFile,
) -> Result<impl Iterator<Item = Result<R, Error>> + use<R>, Error> {
    let content = source.read(file)?;
    let rows = csv::Reader::from_reader(Cursor::new(content)).into_deserialize();
    Ok(rows.map(|row| row.context(|| format!("a row of {} is wrong", file.name))))
}

/// `NA` is what the data lacks.
fn known<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "NA" => Ok(None),
        text => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(D::Error::custom(format!("{text:?}: {error}"))),
        },
    }
}

/// UTC, as in `2013-01-01T06:00:00Z`.
fn utc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse() {
        Ok(time) if text.ends_with('Z') => Ok(time),
        _ => Err(D::Error::custom(format!(
            "{text:?} is not a UTC time such as 2013-01-01T06:00:00Z"
        ))),
    }
}

/// A day as in `Jan 1 2000`, taken as its start in UTC.
fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = String::deserialize(deserializer)?;
    let parse = || {
        let mut parts = text.split(' ');
        let name = parts.next()?;
        let month = MONTHS.iter().position(|month| *month == name)? + 1;
        let day = parts.next()?.parse().ok()?;
        let year = parts.next()?.parse().ok()?;
        Timestamp::date(year, u8::try_from(month).ok()?, day).ok()
    };
    parse().ok_or_else(|| D::Error::custom(format!("{text:?} is not a day such as Jan 1 2000")))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Weather {
    origin: String,
    #[serde(deserialize_with = "utc")]
    time_hour: Timestamp,
    #[serde(deserialize_with = "known")]
    temp: Option<f64>,
    #[serde(deserialize_with = "known")]
    dewp: Option<f64>,
    #[serde(deserialize_with = "known")]
    humid: Option<f64>,
    #[serde(deserialize_with = "known")]
    wind_dir: Option<f64>,
    #[serde(deserialize_with = "known")]
    wind_speed: Option<f64>,
    #[serde(deserialize_with = "known")]
    wind_gust: Option<f64>,
    #[serde(deserialize_with = "known")]
    precip: Option<f64>,
    #[serde(deserialize_with = "known")]
    pressure: Option<f64>,
    #[serde(deserialize_with = "known")]
    visib: Option<f64>,
}

impl From<Weather> for Observation {
    fn from(row: Weather) -> Self {
        Self {
            origin: row.origin,
            hour: Some(row.time_hour),
            temperature_fahrenheit: row.temp,
            dew_point_fahrenheit: row.dewp,
            relative_humidity_percent: row.humid,
            wind_direction_degrees: row.wind_dir,
            wind_speed_mph: row.wind_speed,
            wind_gust_mph: row.wind_gust,
            precipitation_inches: row.precip,
            pressure_millibars: row.pressure,
            visibility_miles: row.visib,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Stock {
    symbol: String,
    #[serde(deserialize_with = "day")]
    date: Timestamp,
    price: f64,
}

impl From<Stock> for PriceUpdate {
    fn from(row: Stock) -> Self {
        Self { symbol: row.symbol, time: Some(row.date), price: row.price, sequence: 0 }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Flight {
    #[serde(deserialize_with = "known")]
    pub dep_time: Option<u32>,
    pub sched_dep_time: u32,
    #[serde(deserialize_with = "known")]
    pub dep_delay: Option<i32>,
    #[serde(deserialize_with = "known")]
    pub arr_time: Option<u32>,
    pub sched_arr_time: u32,
    #[serde(deserialize_with = "known")]
    pub arr_delay: Option<i32>,
    pub carrier: String,
    pub flight: u32,
    #[serde(deserialize_with = "known")]
    pub tailnum: Option<String>,
    pub origin: String,
    pub dest: String,
    #[serde(deserialize_with = "known")]
    pub air_time: Option<u32>,
    pub distance: u32,
    pub minute: u32,
    #[serde(deserialize_with = "utc")]
    pub time_hour: Timestamp,
}

impl Flight {
    /// The report of this departure; `sequence` counts from 1.
    pub(crate) fn report(self, sequence: u64) -> TelemetryReport {
        TelemetryReport {
            device_id: self.tailnum,
            sequence,
            scheduled_hour: Some(self.time_hour),
            carrier: self.carrier,
            flight: self.flight,
            origin: self.origin,
            destination: self.dest,
            departure_time: self.dep_time,
            scheduled_departure_time: self.sched_dep_time,
            departure_delay_minutes: self.dep_delay,
            arrival_time: self.arr_time,
            scheduled_arrival_time: self.sched_arr_time,
            arrival_delay_minutes: self.arr_delay,
            air_time_minutes: self.air_time,
            distance_miles: self.distance,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Airline {
    pub carrier: String,
    pub name: String,
}

/// Serialised without what is not known, in the order of the columns.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Airport {
    #[serde(skip_serializing)]
    pub faa: String,
    pub name: String,
    lat: f64,
    lon: f64,
    /// Feet.
    alt: i32,
    /// Hours from UTC.
    tz: i32,
    dst: String,
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub tzone: Option<String>,
}

/// As [`Airport`].
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Plane {
    #[serde(skip_serializing)]
    pub tailnum: String,
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    pub year: Option<u32>,
    #[serde(rename = "type")]
    kind: String,
    pub manufacturer: String,
    pub model: String,
    engines: u32,
    seats: u32,
    #[serde(deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    speed: Option<u32>,
    engine: String,
}
