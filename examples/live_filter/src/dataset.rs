//! What the network is trained on: random scenes with few samples for each pixel, and the same with many.

use crate::gpu::Gpu;
use crate::scene::{Moment, Renderer, Scene, Targets};
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Samples of the pictures that count as clean.
pub const MANY: u32 = 96;

/// Pixels of the pictures.
pub const SIZE: [u32; 2] = [192, 128];

/// Writes `count` pairs of pictures, of the scenes from seed `first` on, into a folder: `light.f16`, `guide.u8`,
/// `surface.u8` and, with many samples, `clean.f16`, four channels each, one picture after the other.
///
/// # Errors
/// Where a file cannot be written, or the device is lost.
pub fn write(
    gpu: &Gpu,
    folder: &Path,
    first: u64,
    count: u64,
    size: [u32; 2],
    samples: u32,
) -> Result<(), Box<dyn Error>> {
    let renderer = Renderer::new(&gpu.device);
    let targets = Targets::new(&gpu.device, size);
    let mut files = Vec::new();
    for name in ["light.f16", "guide.u8", "surface.u8", "clean.f16"] {
        let path = folder.join(name);
        files.push(BufWriter::new(File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?));
    }
    for seed in first..first + count {
        let scene = Scene::random(seed);
        let draw = |samples, seed| {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            let moment = Moment { seconds: 2.0, samples, seed };
            renderer.record(&gpu.queue, &mut encoder, &scene, &moment, &targets, None);
            gpu.queue.submit([encoder.finish()]);
        };
        draw(samples, seed as u32);
        files[0].write_all(&gpu.read(&targets.light)?)?;
        files[1].write_all(&gpu.read(&targets.guide)?)?;
        files[2].write_all(&gpu.read(&targets.surface)?)?;
        draw(MANY, !(seed as u32));
        files[3].write_all(&gpu.read(&targets.light)?)?;
    }
    for mut file in files {
        file.flush()?;
    }
    Ok(())
}
