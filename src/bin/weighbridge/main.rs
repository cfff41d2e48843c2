//! The command line. `weighbridge` alone is `weighbridge compare`.

mod compare;
mod data;
mod dataset;
mod fashion;
mod files;
mod npy;
mod picture;
mod profile;
mod quantize;
mod run;
mod terminal;
mod tune;

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
    /// Runs a network on arrays
    Run(run::Args),
    /// Makes a network smaller: half precision, static, dynamic or weight-only int8
    Quantize(quantize::Args),
    /// Finds the fastest kernels for a network on this GPU, and keeps them in a file that the other commands read
    Tune(tune::Args),
    /// Says where a network's time goes: each dispatch's, beside what the GPU does at most
    Profile(profile::Args),
    /// Compares fp32, fp16, static int8 and dynamic int8 of a network, or of two built-in ones (the default)
    Compare(compare::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Compare(cli.compare));
    let done = pollster::block_on(async {
        match &command {
            Command::Run(args) => run::run(args).await,
            Command::Quantize(args) => quantize::run(args).await,
            Command::Tune(args) => tune::run(args).await,
            Command::Profile(args) => profile::run(args).await,
            Command::Compare(args) => compare::run(args).await,
        }
    });
    match done {
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
        let other =
            Cli::try_parse_from(["weighbridge", "compare", "m.onnx", "--data", "x.npy", "--batch", "1,8"]);
        let Some(Command::Compare(args)) = other.unwrap().command else { panic!("no subcommand") };
        assert_eq!(args.batch, [1, 8]);
        for refused in [
            &["compare", "m.onnx"][..],
            &["compare", "--data", "x.npy"],
            &["compare", "m.onnx", "--data", "x.npy", "--images", "9"],
            &["run"],
            &["run", "m.onnx", "--repeat", "0"],
            &["quantize", "m.onnx", "-o", "y.onnx"],
            &["tune", "m.onnx", "--model", "cnn"],
            &["tune", "--budget", "-1"],
            &["tune", "--mode", "f8"],
            &["profile"],
            &["profile", "cnn", "--mode", "quarter"],
            &["profile", "cnn", "--repeat", "0"],
        ] {
            let args = ["weighbridge"].iter().chain(refused);
            assert!(Cli::try_parse_from(args).is_err(), "{refused:?}");
        }
        for images in ["0", "10001", "-1", "many"] {
            assert!(Cli::try_parse_from(["weighbridge", "--images", images]).is_err(), "{images}");
        }
    }
}
