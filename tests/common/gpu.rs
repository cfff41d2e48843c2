//! A device for the tests, and buffers that notice what they should not.
#![allow(dead_code)] // each test takes what it needs

use std::sync::OnceLock;
use weighbridge::Gpu;
use weighbridge::tensor::{Element, Tensor, View};

/// The adapter under test; `None`, with a message, where there is none and none is required.
pub fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| match pollster::block_on(Gpu::new()) {
        Ok(gpu) => Some(gpu),
        Err(e) if std::env::var_os("WEIGHBRIDGE_REQUIRE_GPU").is_some() => panic!("a GPU is required: {e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    })
    .as_ref()
}

/// Another device of the adapter under test, with these features and limits only.
pub fn device(gpu: &Gpu, features: wgpu::Features, limits: wgpu::Limits) -> Gpu {
    pollster::block_on(async {
        let info = gpu.device().adapter_info();
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapters = instance.enumerate_adapters(info.backend.into()).await;
        let adapter =
            adapters.into_iter().find(|a| a.get_info().name == info.name).expect("the same adapter");
        let descriptor = wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.expect("less than the adapter has");
        Gpu::with_device(device, queue)
    })
}

/// Whether rows can be shared by subgroup broadcasts here; says so where not.
pub fn has_broadcast(gpu: &Gpu) -> bool {
    let device = gpu.device();
    let can =
        device.features().contains(wgpu::Features::SUBGROUP) && device.adapter_info().subgroup_min_size >= 8;
    if !can {
        eprintln!("left out: broadcasts need subgroups of 8");
    }
    can
}

/// Words that no kernel writes by chance; as f32 and as f16 they are NaN.
pub const POISON: u32 = 0x7fde_7ead;
const GUARD: usize = 64;

/// An output buffer filled with poison, with a guard behind it.
pub struct Guarded {
    pub buffer: wgpu::Buffer,
    words: usize,
}

impl Guarded {
    pub fn new(gpu: &Gpu, words: usize) -> Self {
        let buffer = gpu.upload_words(&vec![POISON; words + GUARD]).unwrap();
        Self { buffer, words }
    }

    /// All words of the output, once the guard has been found intact.
    pub fn words(&self, gpu: &Gpu) -> Vec<u32> {
        let mut all = pollster::block_on(gpu.read_words(&self.buffer, 0, self.words + GUARD)).unwrap();
        let guard = all.split_off(self.words);
        assert!(guard.iter().all(|&w| w == POISON), "wrote past the end of {} words", self.words);
        all
    }

    /// The output as a dense matrix; what lies between the rows must still be poison.
    pub fn matrix(&self, gpu: &Gpu, element: Element, rows: usize, columns: usize, pitch: usize) -> Tensor {
        let words = self.words(gpu);
        let row = element.words(columns);
        let mut dense = Vec::new();
        for r in 0..rows {
            dense.extend_from_slice(&words[r * pitch..r * pitch + row]);
            let gap = &words[r * pitch + row..((r + 1) * pitch).min(words.len())];
            assert!(gap.iter().all(|&w| w == POISON), "wrote between rows {r} and {}", r + 1);
        }
        Tensor::from_device_words(&[rows, columns], element, &dense).unwrap()
    }
}

/// An input buffer whose rows are `pitch` words apart, with poison between them.
pub fn upload_pitched(gpu: &Gpu, tensor: &Tensor, pitch: usize) -> wgpu::Buffer {
    let words = tensor.to_device_words().unwrap();
    let columns = *tensor.shape().last().unwrap();
    let row = tensor.element().words(columns).max(1);
    let mut all = Vec::new();
    for r in words.chunks(row) {
        all.extend_from_slice(r);
        all.resize(all.len() + pitch - row, POISON);
    }
    gpu.upload_words(&all).unwrap()
}

/// A view of a tensor at the start of its buffer, as a matrix of its innermost dimension.
pub fn view<'a>(buffer: &'a wgpu::Buffer, tensor: &Tensor) -> View<'a> {
    let columns = tensor.shape().last().copied().unwrap_or(1);
    View::new(buffer, tensor.element(), tensor.len() / columns.max(1), columns)
}

/// A small generator, the same everywhere.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() & 0xff_ffff) as f32 / 8_388_608.0 - 1.0
    }

    pub fn f32s(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }

    pub fn i8s(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next() as u8 as i8).collect()
    }
}
