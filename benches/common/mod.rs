//! The problems that the bench targets measure, and how: every case is checked before it is timed.
#![allow(dead_code, reason = "no target uses all of it")]

pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod rows;
mod small;

use std::time::{Duration, Instant};
use weighbridge::Gpu;
use weighbridge::profile::Roofline;

/// What a case is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The kernel that one writes first.
    Naive,
    /// Ours in f32, which the narrower ones are compared with.
    F32,
    /// Ours.
    Ours,
}

/// One kernel on one problem.
pub struct Case {
    pub name: String,
    pub role: Role,
    pub record: Box<dyn Fn(&mut wgpu::ComputePass<'_>)>,
    /// Reads the output back after one run and compares a sample of it; panics where it is wrong.
    pub check: Box<dyn Fn(&Gpu)>,
}

/// What one run of any case of a group amounts to.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Multiplications and additions.
    Operations(u64),
    /// Bytes read and written.
    Bytes(u64),
}

impl Work {
    pub fn amount(self) -> u64 {
        match self {
            Work::Operations(n) | Work::Bytes(n) => n,
        }
    }
}

/// Kernels for one problem.
pub struct Group {
    pub name: String,
    pub work: Work,
    pub cases: Vec<Case>,
}

/// A group that is made when its turn comes, so that only its own buffers exist then.
type Make = Box<dyn Fn(&Gpu) -> Group>;
/// The groups whose names contain the first argument that is not an option: all of them, without one.
pub fn groups() -> Vec<Make> {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let mut all: Vec<(String, Make)> = Vec::new();
    for shape in [[512, 512, 512], [256, 256, 256], [1, 1024, 4096]] {
        all.push((gemm::name(shape), Box::new(move |gpu| gemm::group(gpu, shape))));
    }
    let mut add = |name: &str, make: Make| all.push((name.into(), make));
    add(conv::NAME, Box::new(conv::group));
    for (name, make) in elementwise::SIZED {
        add(&elementwise::name(name, elementwise::LEN), Box::new(move |gpu| make(gpu, elementwise::LEN)));
    }
    add(elementwise::QUANTIZE_ROWS, Box::new(elementwise::quantize_rows));
    add(elementwise::POOL, Box::new(elementwise::pool));
    add(elementwise::GELU, Box::new(elementwise::gelu));
    add(elementwise::MUL, Box::new(elementwise::mul));
    add(small::ADD, Box::new(small::add));
    add(small::UNARY, Box::new(small::unary));
    add(small::PERMUTE, Box::new(small::permute));
    add(small::GATHER, Box::new(small::gather));
    add(small::PAD, Box::new(small::pad));
    add(small::QUANT_PARAMS, Box::new(small::quant_params));
    for shape in rows::SOFTMAX {
        add(&rows::name("softmax", shape), Box::new(move |gpu| rows::softmax(gpu, shape)));
    }
    for shape in rows::NORM {
        add(&rows::name("norm", shape), Box::new(move |gpu| rows::norm(gpu, shape)));
    }
    for shape in rows::BESIDE {
        add(&rows::name("sum, norm and int8", shape), Box::new(move |gpu| rows::beside(gpu, shape)));
    }
    all.into_iter().filter(|(name, _)| name.contains(&filter)).map(|(_, make)| make).collect()
}

const ROUNDS: usize = 9;
/// A round of a case lasts about as long in seconds, so that the cost of a submission is small in it.
const ROUND: f64 = 0.03;

/// Checks all cases, then times them in turn, round after round: seconds of one run of each, in its fastest round.
pub fn measure(gpu: &Gpu, cases: &[Case]) -> Vec<f64> {
    let runs: Vec<usize> = cases
        .iter()
        .map(|case| {
            case.verify(gpu);
            (ROUND / case.time(gpu, 1)).ceil().clamp(1.0, 1000.0) as usize
        })
        .collect();
    let mut best = vec![f64::INFINITY; cases.len()];
    for _ in 0..ROUNDS {
        for (i, case) in cases.iter().enumerate() {
            best[i] = best[i].min(case.time(gpu, runs[i]));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    best
}

/// Checks all cases, then times them in turn by the device's timestamps, where it has them: seconds of the fastest run
/// of each, out of at least three and as many as fit into so many seconds.
pub fn fastest(gpu: &Gpu, cases: &[Case], seconds: f64) -> Vec<f64> {
    cases.iter().for_each(|case| case.verify(gpu));
    let round =
        || gpu.time_passes(cases.len(), |i, pass| (cases[i].record)(pass)).expect("the device was lost");
    let mut best = round().nanoseconds;
    let rounds = (seconds * 1e9 / best.iter().sum::<f64>()).clamp(2.0, 50.0) as usize;
    for _ in 0..rounds {
        best.iter_mut().zip(round().nanoseconds).for_each(|(best, t)| *best = best.min(t));
    }
    best.iter().map(|t| t.max(1.0) / 1e9).collect()
}

/// What the device does at most for a kind of work, in 1e9 a second; of operations, those in f32.
pub fn peak(roofline: &Roofline, work: Work) -> f64 {
    match work {
        Work::Operations(_) => roofline.f32,
        Work::Bytes(_) => roofline.copy,
    }
}

impl Group {
    /// What a run in so many seconds amounts to, in 1e9 a second.
    pub fn rate(&self, seconds: f64) -> f64 {
        self.work.amount() as f64 / seconds / 1e9
    }
}

impl Case {
    /// Runs once and checks.
    pub fn verify(&self, gpu: &Gpu) {
        gpu.submit(|pass| (self.record)(pass));
        (self.check)(gpu);
    }

    /// Seconds of one run, out of `runs` recorded into one pass.
    pub fn time(&self, gpu: &Gpu, runs: usize) -> f64 {
        let start = Instant::now();
        gpu.submit(|pass| (0..runs).for_each(|_| (self.record)(pass)));
        gpu.wait().expect("the device was lost");
        start.elapsed().as_secs_f64() / runs as f64
    }
}

/// A kernel outside of the crate: the uniform's words, then buffers, bound from 0.
pub fn plain(
    gpu: &Gpu,
    source: &str,
    entry: &str,
    uniform: &[u32],
    buffers: &[&wgpu::Buffer],
    grid: [u32; 3],
) -> Box<dyn Fn(&mut wgpu::ComputePass<'_>)> {
    let device = gpu.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(entry),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry),
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: Default::default(),
        cache: None,
    });
    let size = (uniform.len() as u64 * 4).next_multiple_of(16);
    let params = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(entry),
        size,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: true,
    });
    let words = bytemuck::cast_slice(uniform);
    params.get_mapped_range_mut(..).unwrap().slice(..words.len()).copy_from_slice(words);
    params.unmap();
    let entries: Vec<_> = std::iter::once(&params)
        .chain(buffers.iter().copied())
        .zip(0..)
        .map(|(b, binding)| wgpu::BindGroupEntry { binding, resource: b.as_entire_binding() })
        .collect();
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(entry),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    Box::new(move |pass| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
    })
}

/// Words of a buffer.
pub fn read(gpu: &Gpu, buffer: &wgpu::Buffer, words: usize) -> Vec<u32> {
    pollster::block_on(gpu.read_words(buffer, 0, words)).expect("the device was lost")
}

/// A buffer of so many words.
pub fn buffer(gpu: &Gpu, words: usize) -> wgpu::Buffer {
    gpu.buffer(words as u64 * 4).expect("within the device's limits")
}

/// Numbers of [-1, 1), the same everywhere.
pub fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
