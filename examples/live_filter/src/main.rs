//! The command line: a window, or frames without one.

use clap::Parser;
use live_filter::filter::Variant;
use live_filter::gpu::Gpu;
use live_filter::{app, dataset, headless};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// A moving scene, path traced with two paths for each pixel and denoised by a network in the same encoder.
///
/// Keys: 1 to 4 fp32, fp16, static and dynamic int8; left and right, or the mouse, the split; D the difference from fp32;
/// F fp32 at the left; H the text; space stops the time; escape ends.
#[derive(Parser)]
struct Arguments {
    /// Renders so many frames in every variant without a window, and prints what they cost and keep.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    headless: Option<u32>,
    /// Writes the last frame without a window as a picture.
    #[arg(long, value_name = "FRAME.png", requires = "headless")]
    out: Option<PathBuf>,
    /// Pixels that are traced and filtered, both even. By default 960x540, or 480x270 on a software adapter.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    size: Option<[u32; 2]>,
    /// The first variant in a window, and the one in the picture.
    #[arg(long, value_enum, default_value = "int8")]
    variant: Variant,
    /// Where the split is, from 0 at the left to 1 at the right.
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    split: f32,
    /// The moment of the picture, in seconds from the start.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    at: f32,
    /// Writes what the network is trained on into a folder: pairs of pictures of random scenes.
    #[arg(long, value_name = "FOLDER", conflicts_with = "headless")]
    dataset: Option<PathBuf>,
    /// How many pairs.
    #[arg(long, default_value_t = 240, requires = "dataset")]
    count: u64,
    /// The first scene's number.
    #[arg(long, default_value_t = 1, requires = "dataset")]
    first: u64,
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let parts: Option<Vec<u32>> = text.split('x').map(|n| n.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[width, height]) => Ok([width, height]),
        _ => Err(format!("`{text}` is not like 960x540")),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("live_filter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if arguments.headless.is_none() && arguments.dataset.is_none() {
        #[cfg(feature = "window")]
        return live_filter::window::run(arguments.size, arguments.variant, arguments.split);
        #[cfg(not(feature = "window"))]
        return Err("this was built without its feature `window`: give --headless N".into());
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let (gpu, _) = pollster::block_on(Gpu::new(&instance, None))?;
    let default = gpu.default_size();
    match (&arguments.dataset, arguments.headless) {
        (Some(folder), _) => {
            let size = arguments.size.unwrap_or(dataset::SIZE);
            dataset::write(&gpu, folder, arguments.first, arguments.count, size, app::SAMPLES)
        }
        (None, frames) => {
            let job = headless::Job {
                frames: frames.unwrap_or(1),
                size: arguments.size.unwrap_or(default),
                variant: arguments.variant,
                split: arguments.split,
                seconds: arguments.at,
            };
            println!("{}", headless::run(gpu, &job, arguments.out.as_deref())?);
            Ok(())
        }
    }
}
