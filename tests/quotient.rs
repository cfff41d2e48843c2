//! `shaders/common/quotient.wgsl`, which finds a thread's place in a tensor, at the ends of its domain: a tensor that is
//! large enough to get there would not fit a software adapter.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Guarded, gpu};

const MAIN: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) { out[id.x] = quotient(x[id.x].x, x[id.x].y); }
}";

#[test]
fn is_the_quotient_rounded_down() {
    let Some(gpu) = gpu() else { return };
    let device = gpu.device();
    let mut divisors: Vec<u32> = (1..40).chain([127, 784, 1009, 65_535, 65_537, 9_999_991]).collect();
    divisors.extend((0..30).flat_map(|bit| [(1_u32 << bit).saturating_sub(1).max(1), (1 << bit) + 1]));
    divisors.push((1 << 30) - 1);
    let mut pairs = Vec::new();
    for &d in &divisors {
        let largest = u32::MAX / d;
        for q in [0, 1, 2, largest / 3, largest / 2, largest.saturating_sub(1), largest] {
            let a = q.wrapping_mul(d);
            pairs.extend(
                [a.saturating_sub(1), a, a.saturating_add(1), a.saturating_add(d - 1)].map(|a| [a, d]),
            );
        }
        pairs.extend([1 << 24, (1 << 24) + 1, 1 << 31, u32::MAX - 1, u32::MAX].map(|a| [a, d]));
    }
    let source = [include_str!("../shaders/common/quotient.wgsl"), MAIN].concat();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let words: Vec<u32> = pairs.iter().copied().flatten().collect();
    let (x, out) = (gpu.upload_words(&words).unwrap(), Guarded::new(gpu, pairs.len()));
    let entry = |binding, size: usize| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: [&x, &out.buffer][binding as usize],
            offset: 0,
            size: std::num::NonZeroU64::new(size as u64 * 4),
        }),
    };
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[entry(0, words.len()), entry(1, pairs.len())],
    });
    let record = |pass: &mut wgpu::ComputePass<'_>| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(pairs.len().div_ceil(64) as u32, 1, 1);
    };
    gpu.submit(record);
    for (got, [a, d]) in out.words(gpu).into_iter().zip(pairs) {
        assert_eq!(got, a / d, "{a} / {d}");
    }
}
