//! One frame of the application: the scene, the network and the picture in one encoder.

use crate::filter::{Filter, Variant, filters};
use crate::gpu::Gpu;
use crate::measure::{Measure, Measured};
use crate::scene::{Moment, Renderer, Scene, Targets};
use crate::view::{Left, Options, Pictures, Right, View};
use std::error::Error;

/// Paths for each pixel.
pub const SAMPLES: u32 = 2;

/// The scene, what it is drawn into, and everything that is done with it.
pub struct App {
    /// The application's own.
    pub gpu: Gpu,
    /// Compares pictures.
    pub measure: Measure,
    /// Puts them on the screen.
    pub view: View,
    scene: Scene,
    renderer: Renderer,
    targets: Targets,
    filters: Vec<Filter>,
}

impl App {
    /// For pictures of `size`, shown on targets of `format`.
    ///
    /// # Errors
    /// Where the size is odd or more than the device allows, and what weighbridge finds wrong.
    pub fn new(gpu: Gpu, size: [u32; 2], format: wgpu::TextureFormat) -> Result<Self, Box<dyn Error>> {
        let most = gpu.device.limits().max_texture_dimension_2d;
        if size.iter().any(|n| *n < 16 || *n > most || n % 2 != 0) {
            let [width, height] = size;
            return Err(format!(
                "{width} x {height} pixels: both must be even, at least 16 and at most {most}"
            )
            .into());
        }
        let (scene, renderer) = (Scene::shown(), Renderer::new(&gpu.device));
        let targets = Targets::new(&gpu.device, size);
        let filters = filters(&gpu, &targets, |encoder, number| {
            // Spread over half a minute of what is going to be shown.
            let moment = Moment { seconds: 3.7 * number as f32, samples: SAMPLES, seed: !number };
            renderer.record(&gpu.queue, encoder, &scene, &moment, &targets, None);
        })?;
        let (measure, view) = (Measure::new(&gpu, size), View::new(&gpu, format));
        Ok(Self { gpu, measure, view, scene, renderer, targets, filters })
    }

    /// Pixels of the picture.
    pub fn size(&self) -> [u32; 2] {
        [self.targets.light.width(), self.targets.light.height()]
    }

    /// The network in one variant.
    pub fn filter(&self, variant: Variant) -> &Filter {
        // There is one for each, in their order.
        &self.filters[variant as usize]
    }

    /// Records one frame: draws the scene, filters it, and shows it on a target of some size. Where `measured`, it is
    /// compared with what fp32 makes of it, for [`Measure::read`], unless that has not been asked for the last one yet.
    /// Returns whether it is.
    pub fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        moment: &Moment,
        variant: Variant,
        measured: bool,
        options: &Options,
        (target, size): (&wgpu::TextureView, [u32; 2]),
    ) -> bool {
        let measured = measured && self.measure.is_free();
        let Self { gpu, measure, scene, renderer, targets, filters, .. } = self;
        let scene_times = measure.scene_times().filter(|_| measured);
        renderer.record(&gpu.queue, encoder, scene, moment, targets, scene_times);

        // The network, between what draws its input and what draws with its output.
        let (filter, exact) = (&filters[variant as usize], &filters[Variant::Fp32 as usize]);
        let timestamp_writes = measure.network_times().filter(|_| measured);
        let label = Some("network");
        filter.frame.record(
            &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes }),
        );

        let compared = measured || options.left == Left::Fp32 || options.right == Right::Difference;
        if compared && variant != Variant::Fp32 {
            exact.frame.encode(encoder);
        }
        if measured {
            measure.record(&gpu.device, encoder, [&filter.output, &exact.output, &targets.surface]);
        }
        let pictures = Pictures {
            light: &targets.light,
            surface: &targets.surface,
            filtered: &filter.output,
            exact: &exact.output,
        };
        self.view.record(gpu, encoder, &pictures, options, target, size);
        measured
    }

    /// How far from many paths for each pixel of a moment are: what was drawn last, and what each variant makes of it. In
    /// dB, in the variants' order. Waits for the device.
    ///
    /// # Errors
    /// Where the device is lost.
    pub fn compare(&mut self, moment: &Moment, paths: u32) -> Result<(f64, Vec<f64>), Box<dyn Error>> {
        let clean = Targets::new(&self.gpu.device, self.size());
        let Self { gpu, measure, scene, renderer, targets, filters, .. } = self;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let many = Moment { samples: paths, seed: moment.seed ^ 0x5555_5555, ..*moment };
        renderer.record(&gpu.queue, &mut encoder, scene, &many, &clean, None);
        filters.iter().for_each(|f| f.frame.encode(&mut encoder));
        gpu.queue.submit([encoder.finish()]);
        let mut distance = |picture: &wgpu::Texture| -> Result<f64, Box<dyn Error>> {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            measure.record(&gpu.device, &mut encoder, [picture, &clean.light, &targets.surface]);
            gpu.queue.submit([encoder.finish()]);
            gpu.wait()?;
            let Measured { psnr, .. } = measure.read()?.ok_or("a measurement was not answered")?;
            Ok(psnr)
        };
        let drawn = distance(&targets.light)?;
        Ok((drawn, filters.iter().map(|f| distance(&f.output)).collect::<Result<_, _>>()?))
    }
}
