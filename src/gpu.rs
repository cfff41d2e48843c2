//! A device of our own: choose an adapter, upload, submit, read back. The only room that names the queue.
#![allow(clippy::disallowed_methods)] // submitting, writing and waiting happen here and nowhere else

use crate::error::{Error, Result};
use crate::kernel::{Call, Kernels};
use crate::tensor::{Element, Tensor, View};

/// What a time was taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Clock {
    /// The device's timestamps before and after a compute pass: the kernels' time, and nothing of the host's.
    Timestamps,
    /// The host's clock around a submit and the wait for it, since the device has no timestamps. A submit takes tens
    /// of microseconds by itself, and short kernels seem longer by that.
    Wall,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timestamps => "timestamps of the device",
            Self::Wall => "the host's clock around each submit (no timestamps on this device)",
        })
    }
}

/// How long each of several things took on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Timings {
    /// What they were taken with.
    pub clock: Clock,
    /// Nanoseconds of each, in the order that they were given.
    pub nanoseconds: Vec<f64>,
}

/// Queries in a set, at most: WebGPU's limit.
const QUERIES: usize = 4096;

/// An adapter's device with its queue and kernels.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    kernels: Kernels,
}

impl Gpu {
    /// The adapter that the environment names (`WGPU_BACKEND`, `WGPU_ADAPTER_NAME`), or the fastest.
    ///
    /// # Errors
    /// See [`Gpu::with_adapter_name`].
    pub async fn new() -> Result<Self> {
        Self::with_adapter_name(std::env::var("WGPU_ADAPTER_NAME").ok().as_deref()).await
    }

    /// The adapter whose name contains `name` (without regard to case), or the fastest: a discrete GPU before an
    /// integrated one before a software one. `WGPU_BACKEND` limits the backends.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none, naming those that there are; [`Error::Device`] where the device
    /// cannot be made.
    pub async fn with_adapter_name(name: Option<&str>) -> Result<Self> {
        let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
        });
        let adapters = instance.enumerate_adapters(backends).await;
        let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
        let wanted = name.unwrap_or_default().to_lowercase();
        let rank = |a: &wgpu::Adapter| match a.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        let adapter = adapters
            .into_iter()
            .filter(|a| a.get_info().name.to_lowercase().contains(&wanted))
            .min_by_key(rank)
            .ok_or_else(|| Error::NoAdapter {
                detail: match name {
                    Some(name) if !names.is_empty() => format!("none is named `{name}`; there are {names:?}"),
                    _ => format!("looked for {backends:?}"),
                },
            })?;
        Self::with_adapter(&adapter).await
    }

    /// A device of this adapter, with all its limits and those of its features that some kernel uses.
    ///
    /// # Errors
    /// [`Error::Device`] where the device cannot be made.
    pub async fn with_adapter(adapter: &wgpu::Adapter) -> Result<Self> {
        let mut wanted = crate::useful_features() | wgpu::Features::BGRA8UNORM_STORAGE;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if crate::kernel::has_matrix_units(adapter) {
            wanted |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            // SAFETY: wgpu asks whoever enables experimental features to accept that they may be unsound. The only one
            // is this, only where the adapter reports the very matrices that the kernels use, and these kernels are
            // no defaults: they run where a caller or a measurement on the device has chosen them, their loads and
            // stores being within workgroup memory at constant places.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("weighbridge"),
                required_features: adapter.features() & wanted,
                required_limits: adapter.limits(),
                experimental_features,
                ..Default::default()
            })
            .await
            .map_err(|e| Error::Device(e.to_string()))?;
        Ok(Self::with_device(device, queue))
    }

    /// Around a device and queue that there already are.
    pub fn with_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let kernels = Kernels::new(&device);
        Self { device, queue, kernels }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The kernels compiled so far.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// A storage buffer that can be copied from and to, of at least 16 bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] where the device has no buffer as large.
    pub fn buffer(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let limit = self.device.limits().max_buffer_size;
        if bytes > limit {
            return Err(Error::Limit { op: "buffer", what: "size in bytes".into(), needed: bytes, limit });
        }
        Ok(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("weighbridge"),
            size: bytes.max(16).next_multiple_of(16),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        }))
    }

    /// A buffer with these words in it.
    ///
    /// # Errors
    /// [`Error::Limit`] where the device has no buffer as large.
    pub fn upload_words(&self, words: &[u32]) -> Result<wgpu::Buffer> {
        let buffer = self.buffer(words.len() as u64 * 4)?;
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        Ok(buffer)
    }

    /// A buffer with the tensor in it, as [`Tensor::to_device_words`] lays it out.
    ///
    /// # Errors
    /// [`Error::Limit`] where the device has no buffer as large, [`Error::Element`] for host-only elements.
    pub fn upload(&self, tensor: &Tensor) -> Result<wgpu::Buffer> {
        self.upload_words(&tensor.to_device_words()?)
    }

    /// Overwrites a buffer with a tensor, before whatever is submitted next.
    ///
    /// # Errors
    /// [`Error::View`] where the buffer is too small, [`Error::Element`] for host-only elements.
    pub fn write(&self, buffer: &wgpu::Buffer, tensor: &Tensor) -> Result<()> {
        let words = tensor.to_device_words()?;
        let bytes = words.len() as u64 * 4;
        if bytes > buffer.size() {
            let detail = format!("{bytes} bytes for a buffer of {}", buffer.size());
            return Err(Error::View { op: "write", view: "buffer", detail });
        }
        self.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&words));
        Ok(())
    }

    /// Runs what `record` puts into a compute pass, and does not wait for it.
    pub fn submit(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> wgpu::SubmissionIndex {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        record(&mut encoder.begin_compute_pass(&Default::default()));
        self.queue.submit([encoder.finish()])
    }

    /// Waits until everything submitted is done.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is lost.
    pub fn wait(&self) -> Result<()> {
        self.poll(wgpu::PollType::wait_indefinitely())
    }

    /// Waits until a submission is done.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is lost.
    pub fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })
    }

    fn poll(&self, how: wgpu::PollType) -> Result<()> {
        self.device.poll(how).map(drop).map_err(|e| Error::Device(e.to_string()))
    }

    /// Runs what `record` puts into a compute pass and copies the first bytes of buffers out, all in one submit. Waits
    /// without an `await`, so that a lock can be held meanwhile.
    pub(crate) fn run(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        sources: &[(&wgpu::Buffer, u64)],
    ) -> Result<Vec<Vec<u32>>> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        record(&mut encoder.begin_compute_pass(&Default::default()));
        let parts: Vec<_> = sources.iter().map(|&(buffer, bytes)| (buffer, 0, bytes)).collect();
        self.copy_out(encoder, &parts)
    }

    /// Copies words out of a buffer, after everything submitted before.
    ///
    /// # Errors
    /// [`Error::View`] where the buffer is shorter, [`Error::Device`] where the device is lost.
    pub async fn read_words(&self, buffer: &wgpu::Buffer, offset: u64, words: usize) -> Result<Vec<u32>> {
        let encoder = self.device.create_command_encoder(&Default::default());
        let parts = self.copy_out(encoder, &[(buffer, offset, words as u64 * 4)])?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Adds copies of `(buffer, offset, bytes)` to an encoder, submits it, waits, and returns what was copied.
    fn copy_out(
        &self,
        mut encoder: wgpu::CommandEncoder,
        parts: &[(&wgpu::Buffer, u64, u64)],
    ) -> Result<Vec<Vec<u32>>> {
        for &(buffer, offset, bytes) in parts {
            if offset.checked_add(bytes).is_none_or(|end| end > buffer.size()) {
                let detail = format!("{bytes} bytes at {offset} of a buffer of {}", buffer.size());
                return Err(Error::View { op: "read back", view: "buffer", detail });
            }
        }
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("weighbridge read back"),
            size: parts.iter().map(|p| p.2).sum::<u64>().max(4),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut at = 0;
        for &(buffer, offset, bytes) in parts {
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, at, bytes);
            at += bytes;
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only where waiting failed, and that error is the one to report.
            let _ = sender.send(result);
        });
        self.queue.submit([encoder.finish()]);
        self.wait()?;
        // Another thread that polls the device may be the one that answers, a moment after the wait is over.
        match receiver.recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Error::Device(e.to_string())),
            Err(e) => return Err(Error::Device(format!("a read-back was not answered: {e}"))),
        }
        let view = staging.get_mapped_range(..).map_err(|e| Error::Device(e.to_string()))?;
        let mut at = 0;
        Ok(parts
            .iter()
            .map(|&(_, _, bytes)| {
                let part = &view[at..at + bytes as usize];
                at += bytes as usize;
                bytemuck::pod_collect_to_vec(part)
            })
            .collect())
    }

    /// What [`Gpu::time`] takes times with on this device.
    pub fn clock(&self) -> Clock {
        let there = self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if there && self.queue.get_timestamp_period() > 0.0 { Clock::Timestamps } else { Clock::Wall }
    }

    /// Runs calls one after the other and says how long each took on the device.
    ///
    /// With timestamps, each is in a compute pass of its own, and all are in one submit. Times of a first run contain
    /// what a driver puts off until then, so that the fastest of several runs is what to go by.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is lost.
    pub fn time(&self, calls: &[&Call]) -> Result<Timings> {
        self.time_passes(calls.len(), |i, pass| calls[i].record(pass))
    }

    /// The same for whatever `record` puts into each of `passes` compute passes.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is lost.
    pub fn time_passes(
        &self,
        passes: usize,
        record: impl Fn(usize, &mut wgpu::ComputePass<'_>),
    ) -> Result<Timings> {
        let clock = self.clock();
        let mut nanoseconds = Vec::with_capacity(passes);
        match clock {
            Clock::Timestamps => {
                for from in (0..passes).step_by(QUERIES / 2) {
                    nanoseconds.extend(self.timestamps(from..passes.min(from + QUERIES / 2), &record)?);
                }
            }
            Clock::Wall => {
                for i in 0..passes {
                    self.wait()?;
                    let start = std::time::Instant::now();
                    self.submit(|pass| record(i, pass));
                    self.wait()?;
                    nanoseconds.push(start.elapsed().as_secs_f64() * 1e9);
                }
            }
        }
        Ok(Timings { clock, nanoseconds })
    }

    /// Nanoseconds of each of at most `QUERIES / 2` passes in one submit.
    fn timestamps(
        &self,
        passes: std::ops::Range<usize>,
        record: &impl Fn(usize, &mut wgpu::ComputePass<'_>),
    ) -> Result<Vec<f64>> {
        let count = 2 * passes.len() as u32;
        let query_set = &self.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("weighbridge times"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let bytes = u64::from(count) * 8;
        let resolved = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("weighbridge times"),
            size: bytes,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for (i, query) in passes.zip((0..).step_by(2)) {
            record(
                i,
                &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set,
                        beginning_of_pass_write_index: Some(query),
                        end_of_pass_write_index: Some(query + 1),
                    }),
                }),
            );
        }
        encoder.resolve_query_set(query_set, 0..count, &resolved, 0);
        let words = self.copy_out(encoder, &[(&resolved, 0, bytes)])?.concat();
        let ticks: Vec<u64> = words.chunks(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 32).collect();
        let period = f64::from(self.queue.get_timestamp_period());
        Ok(ticks.chunks(2).map(|t| t[1].saturating_sub(t[0]) as f64 * period).collect())
    }

    /// Reads a view back as a tensor of `shape`.
    ///
    /// # Errors
    /// See [`Gpu::read_words`] and [`Tensor::from_device_words`].
    pub async fn read(&self, view: &View<'_>, shape: &[usize]) -> Result<Tensor> {
        let words = view.rows * view.element.words(view.columns);
        let all = self.read_words(view.buffer, view.offset, (view.bytes() / 4) as usize).await?;
        let row = view.element.words(view.columns);
        let dense: Vec<u32> = if row == view.pitch || view.rows <= 1 {
            all[..words].to_vec()
        } else {
            all.chunks(view.pitch).flat_map(|r| &r[..row]).copied().collect()
        };
        Tensor::from_device_words(shape, view.element, &dense)
    }

    /// Reads a dense tensor back from the start of a buffer.
    ///
    /// # Errors
    /// See [`Gpu::read`].
    pub async fn read_tensor(
        &self,
        buffer: &wgpu::Buffer,
        element: Element,
        shape: &[usize],
    ) -> Result<Tensor> {
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().rev().skip(1).product();
        self.read(&View::new(buffer, element, rows, columns), shape).await
    }
}
