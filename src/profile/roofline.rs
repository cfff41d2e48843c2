//! What the device does at most, measured.

use crate::error::{Error, Result};
use crate::gpu::{Clock, Gpu};
use crate::kernel::Call;
use crate::ops::roofline::{Peak, VECTORS, WORKGROUP};
use crate::plan::Frame;
use crate::tensor::Element;

/// What a device does at most, in 1e9 a second, as simple kernels found it just now: what moves bytes and does nothing
/// else, and what multiplies and adds in registers and reads nothing.
///
/// Matrix units (cooperative matrices, tensor cores) are not among them: a kernel that uses these can be faster than
/// this roof.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Roofline {
    /// What the times were taken with.
    pub clock: Clock,
    /// Bytes read and written by a copy: GB/s.
    pub copy: f64,
    /// Multiplications and additions in f32: GFLOP/s.
    pub f32: f64,
    /// The same in f16, where the device computes in it.
    pub f16: Option<f64>,
    /// The same of bytes, four products at a time (`dot4I8Packed`): GOP/s.
    pub i8: f64,
}

/// Bytes that are copied: more than caches hold, and on a CPU what does not take long.
const COPIED: [u64; 2] = [128 << 20, 32 << 20];
/// Threads that compute: enough to fill the largest GPUs, and on a CPU enough for its cores.
const THREADS: [u64; 2] = [1 << 18, 1 << 15];
/// A dispatch that computes lasts at least so long, in nanoseconds...
const LEAST: f64 = 4e6;
/// ... but has not more iterations: an invocation on lavapipe leaves its loops silently after 65,535.
const MOST_ITERATIONS: u32 = 1 << 15;
const FIRST_ITERATIONS: u32 = 1 << 6;
/// Rounds, of which the fastest counts: so many, and more until the most or until so many nanoseconds are over.
const ROUNDS: usize = 4;
const MOST_ROUNDS: usize = 24;
const TIME: f64 = 5e8;
/// In bytes of 1, -1, 2 and 3, lowest first: what bytes are multiplied by.
const BYTES: u32 = 0x0302_ff01;

impl Roofline {
    /// Measures a device: half a second of GPU time, on software adapters a few. The kernels' results are checked.
    ///
    /// # Errors
    /// [`Error::Device`] where a result is wrong or the device is lost, [`Error::Limit`] where it has no buffers of
    /// some megabytes.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let device = gpu.device();
        let cpu = usize::from(device.adapter_info().device_type == wgpu::DeviceType::Cpu);
        let limits = device.limits();
        // Of a workgroup.
        let whole = 16 * VECTORS * WORKGROUP;
        let most = limits
            .max_buffer_size
            .min(limits.max_storage_buffer_binding_size)
            .min(u64::from(limits.max_compute_workgroups_per_dimension) * whole);
        let copy = copy(gpu, COPIED[cpu].min(most) / whole * whole)?;
        let threads = THREADS[cpu];
        let halves = device.features().contains(wgpu::Features::SHADER_F16);
        Ok(Self {
            clock: gpu.clock(),
            copy,
            f32: compute(gpu, Peak::F32, threads)?,
            f16: halves.then(|| compute(gpu, Peak::F16, threads)).transpose()?,
            i8: compute(gpu, Peak::I8, threads)?,
        })
    }

    /// Multiplications and additions of operands of this type at most, in 1e9 a second. Narrow operands may be widened
    /// on the way, so that theirs is never below that of f32.
    pub fn operations(&self, element: Element) -> f64 {
        match element {
            Element::F16 => self.f16.unwrap_or(0.0).max(self.f32),
            Element::I8 | Element::U8 => self.i8.max(self.f32),
            _ => self.f32,
        }
    }

    /// Nanoseconds that so much work takes at least: as long as its operations or its bytes take, whichever is more.
    pub fn least(&self, operations: u64, element: Element, bytes: u64) -> f64 {
        (operations as f64 / self.operations(element)).max(bytes as f64 / self.copy)
    }

    /// An estimate of what each dispatch of a frame takes, in nanoseconds, for [`Frame::set_costs`]: what its step's work
    /// takes at least, in equal shares where there are several. Kernels take longer than that; to allow for it, lower
    /// the rates by a share that a profile of the device has shown.
    pub fn costs(&self, frame: &Frame) -> Vec<f64> {
        let each = frame.work().flat_map(|(work, call)| {
            let dispatches = call.dispatches().len();
            let least = self.least(work.operations, work.element, work.bytes);
            std::iter::repeat_n(least / dispatches as f64, dispatches)
        });
        each.collect()
    }
}

/// On one line.
impl std::fmt::Display for Roofline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a copy by a kernel {:.1} GB/s, multiply and add in f32 {:.1} GFLOP/s",
            self.copy, self.f32
        )?;
        match self.f16 {
            Some(f16) => write!(f, ", in f16 {f16:.1} GFLOP/s")?,
            None => write!(f, ", no f16 arithmetic")?,
        }
        write!(f, ", of bytes (dot4I8Packed) {:.1} GOP/s", self.i8)
    }
}

fn failed(kernel: &str, detail: &str) -> Error {
    Error::Device(format!("the roofline's kernel {kernel} {detail}"))
}

/// Nanoseconds of the fastest of some runs.
fn fastest(gpu: &Gpu, call: &Call) -> Result<f64> {
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < MOST_ROUNDS && times.iter().sum::<f64>() < TIME) {
        times.extend(gpu.time(&[call; ROUNDS])?.nanoseconds);
    }
    Ok(times.into_iter().fold(f64::INFINITY, f64::min).max(1.0))
}

/// GB/s, of so many bytes that are read and as many that are written.
fn copy(gpu: &Gpu, bytes: u64) -> Result<f64> {
    let words: Vec<u32> = (0..(bytes / 4) as u32).collect();
    let (x, out) = (gpu.upload_words(&words)?, gpu.buffer(bytes)?);
    let call = Peak::Copy.bind(gpu.kernels(), &x, &out, bytes / 16 / VECTORS, (bytes / 16) as u32)?;
    let time = fastest(gpu, &call)?;
    let sample = words.len().min(1 << 12);
    let parts = gpu.run(|_| (), &[(&out, sample as u64 * 4)])?;
    if parts[0] != words[..sample] {
        return Err(failed("copy", "made no copy"));
    }
    Ok(2.0 * bytes as f64 / time)
}

/// 1e9 operations a second.
fn compute(gpu: &Gpu, kind: Peak, threads: u64) -> Result<f64> {
    let half = 0.5f32.to_bits();
    let x = gpu.upload_words(&[half, half, half, half, half, half, half, half, BYTES, 0, 0, 0])?;
    let out = gpu.buffer(16 * threads)?;
    let mut iterations = FIRST_ITERATIONS;
    loop {
        let call = kind.bind(gpu.kernels(), &x, &out, threads, iterations)?;
        let probe = gpu.time(&[&call])?.nanoseconds[0];
        if probe < LEAST && iterations < MOST_ITERATIONS {
            iterations *= 2;
            continue;
        }
        let time = fastest(gpu, &call)?;
        let parts = gpu.run(|_| (), &[(&out, 16 * threads)])?;
        let right = match kind {
            Peak::I8 => {
                parts[0].chunks(4).zip(0..).step_by(4099).all(|(got, id)| *got == sums(id, iterations))
            }
            // Eight sums of 1 each.
            _ => parts[0].iter().all(|&y| (f32::from_bits(y) - 8.0).abs() < 0.01),
        };
        if !right {
            return Err(failed(&format!("multiply and add {kind:?}"), "has wrong sums"));
        }
        return Ok((threads * u64::from(iterations) * kind.operations()) as f64 / time);
    }
}

/// What a thread of the kernel for bytes writes.
fn sums(id: u32, iterations: u32) -> [u32; 4] {
    let dot = |s: u32| {
        let products = s.to_le_bytes().into_iter().zip(BYTES.to_le_bytes());
        products.map(|(a, b)| i32::from(a as i8) * i32::from(b as i8)).sum::<i32>()
    };
    let chain = |i: u32| {
        (0..iterations).fold(id.wrapping_mul(16).wrapping_add(i), |s, _| s.wrapping_add(dot(s) as u32))
    };
    std::array::from_fn(|i| (0..4).fold(0, |x, j| x ^ chain(4 * i as u32 + j)))
}
