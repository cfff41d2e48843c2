//! Which sentences mean nearly the same? A sentence transformer in fp32 and made smaller, side by side.
//!
//! ```sh
//! scripts/fetch-models models
//! cargo run --release --example sentence_similarity -- --models models
//! cargo run --release --example sentence_similarity -- --models models "The soup is cold." "My dinner went cold."
//! cargo run --release --example sentence_similarity -- --models models --query "a waste of money" - < reviews.txt
//! ```

mod common;

use clap::{Parser, ValueEnum};
use common::{Models, Result, at, milliseconds};
use std::path::Path;
use std::process::ExitCode;
use tokenizers::{PaddingParams, PaddingStrategy, Tokenizer};
use weighbridge::calibrate::Calibrator;
use weighbridge::evaluate::Batch;
use weighbridge::graph::Model;
use weighbridge::quant::Observer;
use weighbridge::tensor::{Data, Tensor};
use weighbridge::{Gpu, Session, optimize};

/// Pairs that say the same in other words, and pairs that share words and mean something else.
const SENTENCES: [&str; 12] = [
    "The bank raised its interest rates again.",
    "We sat on the bank and watched the river.",
    "Borrowing money has become more expensive.",
    "My laptop refuses to start.",
    "The computer won't boot.",
    "He kicked the bucket last winter.",
    "The old man died in January.",
    "She kicked the ball into the bucket.",
    "This film is a masterpiece.",
    "I walked out of the cinema after ten minutes.",
    "How do I make tomato soup?",
    "A recipe for a warm starter of ripe tomatoes.",
];

/// Sentences in one run.
const BATCH: usize = 16;
/// Batches are padded to a multiple of this many tokens, so that few shapes are compiled.
const TOKENS: usize = 16;
/// Lines of the downloaded reviews that static int8 is calibrated on.
const CALIBRATION: usize = 64;

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Weights and activations in f16
    Half,
    /// Weights and activations in int8, with ranges measured on some sentences
    Static,
    /// Weights in int8, and activations with ranges measured at every run
    Dynamic,
    /// Weights in int8, in groups of 64, and activations as they are
    WeightOnly,
}

/// Which sentences mean nearly the same? A sentence transformer in fp32 and made smaller, side by side.
#[derive(Parser)]
struct Args {
    /// The sentences (default: a dozen of its own), or `-` for the lines of stdin
    sentences: Vec<String>,
    /// Rank the sentences by how near they are to this one, instead of each one's nearest
    #[arg(long, value_name = "SENTENCE")]
    query: Option<String>,
    /// How many are shown for --query
    #[arg(long, value_name = "N", default_value = "5")]
    top: usize,
    /// What is compared with fp32
    #[arg(long, default_value = "dynamic")]
    mode: Mode,
    #[command(flatten)]
    models: Models,
}

fn main() -> ExitCode {
    common::exit(pollster::block_on(run(&Args::parse())))
}

async fn run(args: &Args) -> Result<()> {
    let mut sentences = sentences(args)?;
    let path = args.models.path("minilm/minilm_fp32.onnx")?;
    let tokenizer = tokenizer(&args.models.path("minilm/tokenizer.json")?)?;
    let model = Model::from_onnx_file(&path).map_err(at(&path))?;
    let gpu = Gpu::new().await?;

    let small = match args.mode {
        Mode::Half => optimize::half(&model)?.model,
        Mode::Dynamic => optimize::dynamic_int8(&model, &Default::default())?,
        Mode::WeightOnly => optimize::weight_only(
            &model,
            &optimize::WeightOnlyOptions { group: Some(64), ..Default::default() },
        )?,
        Mode::Static => {
            let mut calibrator = Calibrator::new(&gpu, &model, Observer::MinMax)?;
            for batch in batches(&tokenizer, &calibration(&args.models)?)? {
                calibrator.observe(&named(&batch))?;
            }
            optimize::static_int8(&model, &calibrator.finish().await?, &Default::default())?
        }
    };
    let name = args.mode.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
    let sizes = [std::fs::metadata(&path)?.len() as usize, small.to_onnx_bytes()?.len()];
    let sessions = [Session::new(&gpu, &model)?, Session::new(&gpu, &small)?];

    // The query is one more sentence.
    sentences.extend(args.query.clone());
    let batches = batches(&tokenizer, &sentences)?;
    let [mut wide, mut narrow] = [Vec::new(), Vec::new()];
    for batch in &batches {
        for (session, rows) in sessions.iter().zip([&mut wide, &mut narrow]) {
            let y = session.run(&named(batch)).await?.swap_remove(0);
            let width = y.shape().last().copied().unwrap_or(1).max(1);
            rows.extend(y.to_f32().chunks(width).map(<[f32]>::to_vec));
        }
    }

    println!("similarity in fp32 | in {name}\n");
    match &args.query {
        Some(query) => {
            println!("{query}");
            let last = sentences.len() - 1;
            for i in nearest(&wide, last).into_iter().take(args.top) {
                line(dot(&wide[last], &wide[i]), dot(&narrow[last], &narrow[i]), &sentences[i]);
            }
        }
        None => {
            for (i, sentence) in sentences.iter().enumerate() {
                println!("{sentence}");
                let mut shown = Vec::new();
                for rows in [&wide, &narrow] {
                    let Some(j) = nearest(rows, i).first().copied().filter(|j| !shown.contains(j)) else {
                        continue;
                    };
                    line(dot(&wide[i], &wide[j]), dot(&narrow[i], &narrow[j]), &sentences[j]);
                    shown.push(j);
                }
            }
        }
    }

    let times = milliseconds(&sessions, &batches[0]).await?;
    let count = BATCH.min(sentences.len()) as f64;
    let cosines: Vec<f32> = wide.iter().zip(&narrow).map(|(a, b)| dot(a, b)).collect();
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    let least = cosines.iter().copied().fold(f32::INFINITY, f32::min);
    println!("\n{:9}{:>8}{:>13}  cosine with fp32's embedding", "", "file MB", "ms/sentence");
    let notes = ["1".to_owned(), format!("{mean:.4} (least {least:.4})")];
    for (((name, size), time), note) in ["fp32", &name].iter().zip(sizes).zip(times).zip(notes) {
        println!("{name:9}{:>8.1}{:>13.1}  {note}", size as f64 / 1e6, time / count);
    }
    Ok(())
}

/// What was asked about.
fn sentences(args: &Args) -> Result<Vec<String>> {
    let own = || SENTENCES.map(String::from).to_vec();
    let given: Vec<String> = match args.sentences.as_slice() {
        [] => own(),
        [dash] if dash == "-" => std::io::read_to_string(std::io::stdin())
            .map_err(|e| format!("stdin: {e}"))?
            .lines()
            .map(Into::into)
            .collect(),
        given => given.to_vec(),
    };
    let given: Vec<String> = given.iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    if args.query.as_ref().is_some_and(|q| q.trim().is_empty()) {
        return Err("--query: an empty sentence".into());
    }
    let (needed, what) = if args.query.is_some() { (1, "to rank") } else { (2, "to compare") };
    match given.len() {
        n if n >= needed => Ok(given),
        n => Err(format!("{n} sentences {what}, {needed} or more are needed").into()),
    }
}

/// Some of the downloaded reviews, or the sentences above where there are none.
fn calibration(models: &Models) -> Result<Vec<String>> {
    let own = || SENTENCES.map(String::from).to_vec();
    let Ok(path) = models.path("minilm/snippets.txt") else { return Ok(own()) };
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let lines: Vec<String> = lines.take(CALIBRATION).map(Into::into).collect();
    Ok(if lines.is_empty() { own() } else { lines })
}

/// The model's tokenizer. What it cuts off beyond 128 tokens stays cut off; its padding to 128 would be slow.
fn tokenizer(path: &Path) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_file(path).map_err(at(path))?;
    let padding = tokenizer.get_padding().cloned().unwrap_or_default();
    let strategy = PaddingStrategy::BatchLongest;
    tokenizer.with_padding(Some(PaddingParams { strategy, pad_to_multiple_of: Some(TOKENS), ..padding }));
    Ok(tokenizer)
}

/// The sentences as the model takes them.
fn batches(tokenizer: &Tokenizer, sentences: &[String]) -> Result<Vec<Batch>> {
    let batch = |sentences: &[String]| {
        let encoded =
            tokenizer.encode_batch(sentences.to_vec(), true).map_err(|e| format!("tokenizer: {e}"))?;
        let shape = [encoded.len(), encoded.first().map_or(0, |e| e.len())];
        let tensor = |of: fn(&tokenizers::Encoding) -> &[u32]| {
            Tensor::new(shape, Data::I64(encoded.iter().flat_map(of).map(|&x| x.into()).collect()))
        };
        let ids = tensor(tokenizers::Encoding::get_ids)?;
        let mask = tensor(tokenizers::Encoding::get_attention_mask)?;
        Ok(vec![("input_ids".into(), ids), ("attention_mask".into(), mask)])
    };
    sentences.chunks(BATCH).map(batch).collect()
}

fn named(batch: &Batch) -> Vec<(&str, &Tensor)> {
    batch.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

/// The similarity: the embeddings are of length 1.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The other rows, the nearest first.
fn nearest(rows: &[Vec<f32>], of: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..rows.len()).filter(|&i| i != of).collect();
    others.sort_by(|&a, &b| dot(&rows[of], &rows[b]).total_cmp(&dot(&rows[of], &rows[a])));
    others
}

fn line(fp32: f32, small: f32, sentence: &str) {
    println!("  {fp32:5.2} |{small:5.2}  {}  {sentence}", bar(fp32));
}

/// A bar of ten characters, in eighths of one.
fn bar(share: f32) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * 80.0).round() as usize;
    let full = "█".repeat(eighths / 8);
    let rest = if !eighths.is_multiple_of(8) { EIGHTHS[eighths % 8].to_string() } else { String::new() };
    format!("{:10}", full + &rest)
}
