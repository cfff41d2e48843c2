//! What is in the picture? EfficientNet-Lite0 in fp32, fp16 and static int8, side by side.
//!
//! ```sh
//! scripts/fetch-models models
//! cargo run --release --example classify_image -- --models models
//! cargo run --release --example classify_image -- --models models holiday.jpg
//! ```

mod common;

use clap::Parser;
use common::{Models, Result, at, milliseconds};
use image::imageops::{self, FilterType};
use image::{ImageReader, RgbImage};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weighbridge::calibrate::Calibrator;
use weighbridge::evaluate::argmax;
use weighbridge::graph::Model;
use weighbridge::quant::Observer;
use weighbridge::tensor::Tensor;
use weighbridge::{Gpu, Session, optimize};

/// An image's shorter side is scaled to this ...
const SCALED: u32 = 256;
/// ... and the network sees a square of this.
const SIDE: u32 = 224;
/// Corners of the images that static int8 is calibrated on, at most.
const CALIBRATION: usize = 16;
const VARIANTS: [&str; 3] = ["fp32", "fp16", "static-int8"];

/// Some of ImageNet's 1,000 classes.
const NAMES: [(usize, &str); 56] = [
    (0, "tench"),
    (18, "magpie"),
    (21, "kite"),
    (22, "bald eagle"),
    (99, "goose"),
    (100, "black swan"),
    (127, "white stork"),
    (128, "black stork"),
    (129, "spoonbill"),
    (207, "golden retriever"),
    (242, "boxer"),
    (243, "bull mastiff"),
    (251, "dalmatian"),
    (281, "tabby cat"),
    (285, "Egyptian cat"),
    (291, "lion"),
    (292, "tiger"),
    (294, "brown bear"),
    (302, "ground beetle"),
    (304, "leaf beetle"),
    (305, "dung beetle"),
    (307, "weevil"),
    (308, "fly"),
    (317, "leafhopper"),
    (340, "zebra"),
    (388, "giant panda"),
    (409, "analog clock"),
    (417, "balloon"),
    (436, "beach wagon"),
    (438, "beaker"),
    (455, "bottle cap"),
    (471, "cannon"),
    (504, "coffee mug"),
    (511, "convertible"),
    (541, "drum"),
    (559, "folding chair"),
    (609, "jeep"),
    (620, "laptop"),
    (630, "loafer"),
    (656, "minivan"),
    (711, "perfume"),
    (717, "pickup"),
    (741, "prayer rug"),
    (779, "school bus"),
    (817, "sports car"),
    (853, "thatch"),
    (915, "yurt"),
    (948, "Granny Smith"),
    (949, "strawberry"),
    (950, "orange"),
    (951, "lemon"),
    (954, "banana"),
    (956, "custard apple"),
    (963, "pizza"),
    (980, "volcano"),
    (990, "buckeye"),
];

/// What is in the picture? EfficientNet-Lite0 in fp32, fp16 and static int8, side by side.
#[derive(Parser)]
struct Args {
    /// JPEG or PNG files (default: the labelled images among the models)
    images: Vec<PathBuf>,
    /// How many classes are shown (default: 5, of more than 4 images 1)
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    #[command(flatten)]
    models: Models,
}

fn main() -> ExitCode {
    common::exit(pollster::block_on(run(&Args::parse())))
}

async fn run(args: &Args) -> Result<()> {
    let path = args.models.path("effnet/efflite0_folded.onnx")?;
    let files = match args.images.as_slice() {
        [] => labelled(&args.models.path("images")?)?,
        given => given.to_vec(),
    };
    let images = files.iter().map(|f| square(f)).collect::<Result<Vec<_>>>()?;
    let model = Model::from_onnx_file(&path).map_err(at(&path))?;
    let gpu = Gpu::new().await?;

    // What is classified is the centre; the ranges are those of the corners.
    let mut calibrator = Calibrator::new(&gpu, &model, Observer::MinMax)?;
    let far = SCALED - SIDE;
    let corners = [(0, 0), (far, far), (far, 0), (0, far)];
    for (x, y, image) in
        corners.iter().flat_map(|(x, y)| images.iter().map(move |i| (x, y, i))).take(CALIBRATION)
    {
        calibrator.observe(&[("input", &seen(image, *x, *y)?)])?;
    }
    let ranges = calibrator.finish().await?;
    let half = optimize::half(&model)?.model;
    let int8 = optimize::static_int8(&model, &ranges, &Default::default())?;
    let sizes =
        [std::fs::metadata(&path)?.len() as usize, half.to_onnx_bytes()?.len(), int8.to_onnx_bytes()?.len()];
    let sessions = [&model, &half, &int8].map(|m| Session::new(&gpu, m));
    let sessions = sessions.into_iter().collect::<weighbridge::Result<Vec<_>>>()?;

    let top = args.top.unwrap_or(if files.len() > 4 { 1 } else { 5 }).min(1000);
    let one_line = top == 1 && files.len() > 1;
    println!("{}{}", if one_line { format!("{:22}", "") } else { "  ".into() }, columns(&VARIANTS));
    let mut labels = 0;
    let (mut right, mut agree) = ([0; VARIANTS.len()], [0; VARIANTS.len()]);
    for (file, image) in files.iter().zip(&images) {
        let centre = seen(image, far / 2, far / 2)?;
        let mut answers = Vec::new();
        for session in &sessions {
            answers.push(session.run(&[("input", &centre)]).await?.swap_remove(0).to_f32());
        }
        let best: Vec<_> = answers.iter().map(|logits| argmax(logits)).collect();
        let label = label(file);
        labels += usize::from(label.is_some());
        for (i, answer) in best.iter().enumerate() {
            right[i] += usize::from(label.is_some() && *answer == label);
            agree[i] += usize::from(*answer == best[0]);
        }

        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let wrong = label.filter(|label| best[0] != Some(*label));
        let note = wrong.map_or(String::new(), |label| format!("  labelled {}", class(label)));
        let ranked: Vec<_> = answers.iter().map(|logits| ranked(logits)).collect();
        if !one_line {
            println!("{name}{note}");
        }
        for row in 0..top {
            let cells: Vec<String> = ranked.iter().filter_map(|r| r.get(row)).map(|r| cell(*r)).collect();
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            match one_line {
                true => println!("{name:22}{}{note}", columns(&cells)),
                false => println!("  {}", columns(&cells)),
            }
        }
    }

    let centre = vec![("input".into(), seen(&images[0], far / 2, far / 2)?)];
    let times = milliseconds(&sessions, &centre).await?;
    println!("\n{:12}{:>8}{:>10}{:>14}{:>8}", "", "file MB", "ms/image", "agree", "right");
    for (i, name) in VARIANTS.iter().enumerate() {
        let agree = format!("{} of {}", agree[i], files.len());
        let right = if labels > 0 { format!("{} of {labels}", right[i]) } else { "-".into() };
        let size = sizes[i] as f64 / 1e6;
        println!("{name:12}{size:>8.1}{:>10.1}{agree:>14}{right:>12}", times[i]);
    }
    Ok(())
}

/// The images of a folder, by name.
fn labelled(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(at(folder))?;
    let paths = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().map_err(at(folder))?;
    let image = |p: &PathBuf| p.extension().is_some_and(|e| e == "jpg" || e == "jpeg" || e == "png");
    let mut images: Vec<PathBuf> = paths.into_iter().filter(image).collect();
    images.sort();
    if images.is_empty() { Err(format!("{}: no images", folder.display()).into()) } else { Ok(images) }
}

/// The class that the name of one of the labelled images ends in: `imagenet_00_243.jpg`.
fn label(file: &Path) -> Option<usize> {
    file.file_stem()?.to_str()?.strip_prefix("imagenet_")?.split_once('_')?.1.parse().ok()
}

/// The middle square of an image, scaled.
fn square(file: &Path) -> Result<RgbImage> {
    let reader = ImageReader::open(file).and_then(ImageReader::with_guessed_format).map_err(at(file))?;
    let image = reader.decode().map_err(at(file))?.to_rgb8();
    let (width, height) = image.dimensions();
    let side = width.min(height);
    let middle = imageops::crop_imm(&image, (width - side) / 2, (height - side) / 2, side, side).to_image();
    Ok(imageops::resize(&middle, SCALED, SCALED, FilterType::CatmullRom))
}

/// What the network sees of it from there: channels first, (x - 127) / 128 as it was trained.
fn seen(image: &RgbImage, x: u32, y: u32) -> Result<Tensor> {
    let crop = imageops::crop_imm(image, x, y, SIDE, SIDE).to_image();
    let channel = |c| crop.pixels().map(move |p| (f32::from(p.0[c]) - 127.0) / 128.0);
    let data: Vec<f32> = (0..3).flat_map(channel).collect();
    Ok(Tensor::f32([1, 3, SIDE as usize, SIDE as usize], data)?)
}

/// Classes and their probabilities, the likeliest first.
fn ranked(logits: &[f32]) -> Vec<(usize, f32)> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|x| (x - most).exp()).sum();
    let mut classes: Vec<_> = logits.iter().map(|x| (x - most).exp() / sum).enumerate().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    classes
}

fn class(index: usize) -> String {
    let name = NAMES.iter().find(|(i, _)| *i == index).map_or("class", |(_, name)| name);
    format!("{name} {index}")
}

fn cell((index, share): (usize, f32)) -> String {
    format!("{:3.0}% {}", share * 100.0, class(index))
}

fn columns(cells: &[&str]) -> String {
    cells.iter().map(|c| format!("{c:24}")).collect::<String>().trim_end().to_owned()
}
