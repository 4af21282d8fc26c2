//! `millstream errors`

use clap::Args;
use millstream_boundary::errors::TABLE;

use crate::Failure;

/// Prints the table of error codes, which is the same in every language
#[derive(Args)]
pub struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.json {
        let rows: Vec<_> = TABLE
            .iter()
            .map(|row| {
                serde_json::json!({
                    "number": row.number,
                    "name": row.name,
                    "retryable": row.retryable,
                    "doc": row.doc,
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for row in TABLE {
        let retryable = if row.retryable { " [worth a retry]" } else { "" };
        println!("{:>3}  {:<20} {}{retryable}", row.number, row.name, row.doc);
    }
    Ok(())
}
