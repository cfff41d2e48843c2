//! The command line. `weighbridge` alone is `weighbridge compare`.

mod compare;
mod dataset;
mod picture;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What reaches the user: a message, of whatever kind.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Scales for weights, and a bridge to every GPU: post-training optimization of neural networks, measured.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Compares fp32, fp16, static int8 and dynamic int8 on labelled images (the default)
    Compare(compare::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Compare(args) = cli.command.unwrap_or(Command::Compare(cli.compare));
    match pollster::block_on(compare::run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let bare = Cli::try_parse_from(["weighbridge", "--images", "300"]).unwrap();
        assert!(bare.command.is_none());
        assert_eq!(bare.compare.images, 300);
        let Some(Command::Compare(args)) =
            Cli::try_parse_from(["weighbridge", "compare", "--model", "mlp"]).unwrap().command
        else {
            panic!("no subcommand");
        };
        assert_eq!((args.images, args.model.as_deref()), (2000, Some("mlp")));
        for images in ["0", "10001", "-1", "many"] {
            assert!(Cli::try_parse_from(["weighbridge", "--images", images]).is_err(), "{images}");
        }
    }
}
