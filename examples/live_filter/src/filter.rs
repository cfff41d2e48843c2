//! The network in its variants, each bound to the same textures.

use crate::gpu::Gpu;
use crate::scene::{Targets, texture};
use std::error::Error;
use weighbridge::calibrate::Ranges;
use weighbridge::graph::Model;
use weighbridge::ops::{RangeState, Update};
use weighbridge::optimize;
use weighbridge::plan::{Binding, Frame, Memory, Observe, Plan, PlanDescriptor, state_stride};
use weighbridge::quant::Observer;
use weighbridge::tensor::{Image, Pixels};

const NETWORK: &[u8] = include_bytes!("../../../assets/live_filter/denoiser.onnx");

/// Not the widest range that any frame had: a path that finds a lamp by chance would make everything else coarser. Against
/// that the mean is 2 dB nearer to fp32.
const OBSERVER: Observer = Observer::MovingAverage { constant: 0.2 };

/// Frames of the application that the ranges of static int8 are taken from.
const CALIBRATED_ON: u32 = 8;

/// What the network was made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    /// As it was trained.
    Fp32,
    /// Weights and activations in half precision.
    Fp16,
    /// Weights and activations in int8, with ranges from frames of this scene.
    Int8,
    /// Weights in int8, and activations with ranges that each frame measures.
    DynamicInt8,
}

impl Variant {
    /// In the order of their keys.
    pub const ALL: [Self; 4] = [Self::Fp32, Self::Fp16, Self::Int8, Self::DynamicInt8];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "static int8",
            Self::DynamicInt8 => "dynamic int8",
        }
    }
}

/// A variant, bound to the pictures.
pub struct Filter {
    /// Which it is.
    pub variant: Variant,
    /// What it takes on the GPU.
    pub memory: Memory,
    /// To be recorded.
    pub frame: Frame,
    /// What it makes.
    pub output: wgpu::Texture,
    // A frame shares its plan's memory.
    _plan: Plan,
}

/// All variants, reading what is drawn to `targets`. `record` draws a frame of the application that has the number it is
/// given: static int8 is calibrated on some.
///
/// # Errors
/// What weighbridge finds wrong with the device, or a range that is not finite.
pub fn filters(
    gpu: &Gpu,
    targets: &Targets,
    mut record: impl FnMut(&mut wgpu::CommandEncoder, u32),
) -> Result<Vec<Filter>, Box<dyn Error>> {
    let model = Model::from_onnx_bytes(NETWORK)?;
    let output = output(gpu, targets);

    // The plan that observes runs in the application's own encoder, on its own textures. Ranges stay on the GPU until all
    // frames are through.
    let values: Vec<String> =
        optimize::observed_values(&model).into_iter().map(|id| model.value(id).name.clone()).collect();
    let stride = state_stride(&gpu.device);
    let bytes = values.len() as u64 * stride;
    let buffer = |usage| {
        let label = Some("ranges");
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size: bytes,
            usage,
            mapped_at_creation: false,
        })
    };
    let states = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ);
    let observe = Observe { values: &values, states: &states, update: Update::Accumulate(OBSERVER) };
    let (_plan, frame) = bound(gpu, &model, targets, &output, Some(observe))?;
    for number in 0..CALIBRATED_ON {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        record(&mut encoder, number);
        frame.encode(&mut encoder);
        if number == CALIBRATED_ON - 1 {
            encoder.copy_buffer_to_buffer(&states, 0, &staging, 0, bytes);
        }
        gpu.queue.submit([encoder.finish()]);
    }
    let bytes = gpu.map(&staging)?;
    let mut ranges = Ranges::new(OBSERVER);
    ranges.batches = CALIBRATED_ON.into();
    for (value, state) in values.iter().zip(bytes.chunks(stride as usize)) {
        let state: RangeState = bytemuck::pod_read_unaligned(&state[..size_of::<RangeState>()]);
        if state.flags != 0 {
            return Err(format!("`{value}` is not finite in {CALIBRATED_ON} frames").into());
        }
        ranges.values.insert(value.clone(), state.range());
    }

    let made = |variant| -> Result<Filter, Box<dyn Error>> {
        let model = match variant {
            Variant::Fp32 => model.clone(),
            Variant::Fp16 => optimize::half(&model)?.model,
            Variant::Int8 => optimize::static_int8(&model, &ranges, &Default::default())?,
            Variant::DynamicInt8 => optimize::dynamic_int8(&model, &Default::default())?,
        };
        let output = self::output(gpu, targets);
        let (plan, frame) = bound(gpu, &model, targets, &output, None)?;
        Ok(Filter { variant, memory: plan.memory(), frame, output, _plan: plan })
    };
    Variant::ALL.into_iter().map(made).collect()
}

fn output(gpu: &Gpu, targets: &Targets) -> wgpu::Texture {
    let size = [targets.light.width(), targets.light.height()];
    texture(&gpu.device, size, wgpu::TextureFormat::Rgba16Float)
}

/// A plan for the size of the pictures, bound to them.
fn bound(
    gpu: &Gpu,
    model: &Model,
    targets: &Targets,
    output: &wgpu::Texture,
    observe: Option<Observe<'_>>,
) -> weighbridge::Result<(Plan, Frame)> {
    let shape = [1, 4, targets.light.height() as usize, targets.light.width() as usize];
    let plan = Plan::new(
        &gpu.device,
        model,
        &PlanDescriptor {
            inputs: &[("light", &shape), ("guide", &shape)],
            textures: &["light", "guide", "denoised"],
            observe,
            ..Default::default()
        },
    )?;
    // The network takes normals in [-1, 1].
    let signed = Pixels { mean: [0.5; 4], scale: [2.0; 4], ..Pixels::default() };
    let frame = plan.bind(&[
        ("light", (&targets.light).into()),
        ("guide", Binding::Texture(Image::new(&targets.guide), signed)),
        ("denoised", output.into()),
    ])?;
    Ok((plan, frame))
}
