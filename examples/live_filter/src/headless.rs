//! Frames without a window: a table of what the variants cost and keep, and a picture.

use crate::app::{App, SAMPLES};
use crate::filter::Variant;
use crate::gpu::Gpu;
use crate::measure::Measured;
use crate::scene::{Moment, texture, whole};
use crate::view::{Left, Options, Right};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Instant;

/// Paths of the picture that counts as clean.
pub const CLEAN: u32 = 128;

/// What is to be rendered.
pub struct Job {
    /// For each variant; at least one.
    pub frames: u32,
    /// Pixels.
    pub size: [u32; 2],
    /// Of the picture.
    pub variant: Variant,
    /// Of the picture.
    pub split: f32,
    /// The last frame's moment.
    pub seconds: f32,
}

/// A variant's part of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which it is.
    pub variant: Variant,
    /// Bytes of weights and of activations.
    pub bytes: [u64; 2],
    /// Milliseconds of a frame, by the host's clock: the median.
    pub frame: f64,
    /// Milliseconds of the scene and of the network, by the device's timestamps, in the last frame.
    pub times: Option<[f64; 2]>,
    /// dB to what fp32 makes, in the last frame.
    pub to_fp32: f64,
    /// dB to many paths for each pixel, in the last frame.
    pub to_clean: f64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it ran on.
    pub adapter: String,
    /// Pixels.
    pub size: [u32; 2],
    /// dB of what was drawn to many paths for each pixel.
    pub drawn: f64,
    /// In the variants' order.
    pub rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [width, height] = self.size;
        writeln!(f, "{}, {width} x {height}, {SAMPLES} paths for each pixel\n", self.adapter)?;
        writeln!(
            f,
            "              weights kB  activations kB  frame ms  scene ms  network ms  dB to fp32  dB to clean"
        )?;
        writeln!(f, "{:<12}{:>90.2}", "as drawn", self.drawn)?;
        for row in &self.rows {
            let [weights, activations] = row.bytes.map(|b| b as f64 / 1e3);
            let time = |i: usize| row.times.map_or("-".into(), |t| format!("{:.2}", t[i]));
            let fp32 = if row.variant == Variant::Fp32 { "-".into() } else { format!("{:.2}", row.to_fp32) };
            writeln!(
                f,
                "{:<12}{weights:>12.1}{activations:>16.0}{:>10.2}{:>10}{:>12}{fp32:>12}{:>13.2}",
                row.variant.name(),
                row.frame,
                time(0),
                time(1),
                row.to_clean,
            )?;
        }
        write!(f, "\ndB: peak signal to noise of what is seen. clean: {CLEAN} paths for each pixel.")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The text over the picture.
pub fn caption(app: &App, variant: Variant, frame: f64, measured: Option<Measured>) -> String {
    let memory = app.filter(variant).memory;
    let [width, height] = app.size();
    let times = measured.and_then(|m| m.times);
    // The scene's time is left out: a driver may still be busy with the last frame's picture when it begins.
    let network = times.map_or(String::new(), |[_, n]| format!(", of which the network {n:.1} ms"));
    let psnr = match measured {
        _ if variant == Variant::Fp32 => "it is the reference".into(),
        Some(m) => format!("{:.1} dB to fp32", m.psnr),
        None => "to be measured".into(),
    };
    format!(
        "{}: {psnr}\n{width} x {height}, {frame:.1} ms a frame{network}\nweights {:.1} kB, activations {:.1} MB",
        variant.name(),
        memory.weights as f64 / 1e3,
        memory.activations as f64 / 1e6,
    )
}

/// Renders frames in every variant, and a picture of the last one where there is a file for it.
///
/// # Errors
/// As [`App::new`]; where the device is lost, or the picture cannot be written.
pub fn run(gpu: Gpu, job: &Job, out: Option<&Path>) -> Result<Report, Box<dyn Error>> {
    let format = wgpu::TextureFormat::Rgba8Unorm;
    let adapter = gpu.info.name.clone();
    let mut app = App::new(gpu, job.size, format)?;
    let target = texture(&app.gpu.device, job.size, format);
    let view = whole(&target);
    let mut options = Options { split: job.split, left: Left::Drawn, right: Right::Filtered, text: false };
    let frames = job.frames.max(1);
    let moment = |frame: u32| Moment {
        seconds: job.seconds - (frames - 1 - frame) as f32 / 30.0,
        samples: SAMPLES,
        seed: frame,
    };
    let mut rows = Vec::new();
    for variant in Variant::ALL {
        let mut render = |frame, measured| -> Result<f64, Box<dyn Error>> {
            let start = Instant::now();
            let mut encoder = app.gpu.device.create_command_encoder(&Default::default());
            app.record(&mut encoder, &moment(frame), variant, measured, &options, (&view, job.size));
            app.gpu.queue.submit([encoder.finish()]);
            app.gpu.wait()?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        };
        // One before the others, since drivers put off compiling until then, and the last again to be compared.
        render(0, false)?;
        let walls = (0..frames).map(|frame| render(frame, false)).collect::<Result<_, _>>()?;
        render(frames - 1, true)?;
        let Measured { psnr, times } = app.measure.read()?.ok_or("a frame's measurement was not answered")?;
        let memory = app.filter(variant).memory;
        rows.push(Row {
            variant,
            bytes: [memory.weights, memory.activations],
            frame: median(walls),
            times,
            to_fp32: psnr,
            to_clean: f64::NAN,
        });
    }
    let last = moment(frames - 1);
    let (drawn, to_clean) = app.compare(&last, CLEAN)?;
    rows.iter_mut().zip(to_clean).for_each(|(row, db)| row.to_clean = db);
    if let Some(path) = out {
        let row = &rows[job.variant as usize];
        let measured = Measured { psnr: row.to_fp32, times: row.times };
        let mut text = caption(&app, job.variant, row.frame, Some(measured));
        text += &format!("\nto {CLEAN} paths a pixel: {:.1} dB, from {drawn:.1}", row.to_clean);
        app.view.write(&app.gpu.queue, &text);
        options.text = true;
        let mut encoder = app.gpu.device.create_command_encoder(&Default::default());
        app.record(&mut encoder, &last, job.variant, false, &options, (&view, job.size));
        app.gpu.queue.submit([encoder.finish()]);
        let [width, height] = job.size;
        let texels = app.gpu.read(&target)?;
        // The picture has no holes: three channels are enough.
        let colours: Vec<u8> = texels.chunks(4).flat_map(|texel| &texel[..3]).copied().collect();
        image::save_buffer(path, &colours, width, height, image::ColorType::Rgb8)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(Report { adapter, size: job.size, drawn, rows })
}
