//! The `millstream` program.
//!
//! Exit codes: 0 done, 1 the call or the work failed, 2 wrong use.
#![forbid(unsafe_code)]

mod call;
mod connect;
mod errors;
mod health;
mod list;
mod schema;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Calls gRPC services: any method of any server, with JSON in and out.
#[derive(Parser)]
#[command(name = "millstream", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Call(call::Arguments),
    List(list::Arguments),
    Health(health::Arguments),
    Errors(errors::Arguments),
}

/// What ends the program other than well: a text for the user.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Call(arguments) => call::run(arguments).await,
        Command::List(arguments) => list::run(arguments).await,
        Command::Health(arguments) => health::run(arguments).await,
        Command::Errors(arguments) => errors::run(&arguments),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    };
    // A thread that reads standard input cannot be interrupted; leaving does not wait for it.
    std::process::exit(code)
}
