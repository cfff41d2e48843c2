//! How far two pictures are apart and how long a frame took, found on the GPU and read back when it is there.

use crate::gpu::Gpu;
use crate::scene::whole;
use std::error::Error;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Texels of a workgroup's side.
const SIDE: u32 = 8;
/// Timestamps before and after the scene, and before and after the network.
const STAMPS: u32 = 4;

/// What a frame was measured to be.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Of the pictures, in dB; infinite where they are equal.
    pub psnr: f64,
    /// Milliseconds of the scene and of the network, on devices with timestamps.
    pub times: Option<[f64; 2]>,
}

/// Measures one frame at a time.
pub struct Measure {
    pipeline: wgpu::ComputePipeline,
    groups: [u32; 2],
    values: u32,
    sums: wgpu::Buffer,
    stamps: Option<Stamps>,
    staging: wgpu::Buffer,
    pending: Option<Receiver<Result<(), wgpu::BufferAsyncError>>>,
}

struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Nanoseconds of one tick.
    period: f32,
}

impl Measure {
    /// For pictures of this size.
    pub fn new(gpu: &Gpu, size: [u32; 2]) -> Self {
        let device = &gpu.device;
        let shader = concat!(include_str!("../shaders/shown.wgsl"), include_str!("../shaders/error.wgsl"));
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("error"),
            source: wgpu::ShaderSource::Wgsl(shader.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("error"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let groups = size.map(|n| n.div_ceil(SIDE));
        let bytes = u64::from(groups[0] * groups[1]) * 4;
        let buffer = |size, usage| {
            let label = Some("measure");
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        let period = gpu.queue.get_timestamp_period();
        let there = device.features().contains(wgpu::Features::TIMESTAMP_QUERY) && period > 0.0;
        let stamps = there.then(|| Stamps {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("measure"),
                ty: wgpu::QueryType::Timestamp,
                count: STAMPS,
            }),
            resolved: buffer(
                u64::from(STAMPS) * 8,
                wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            ),
            period,
        });
        Self {
            pipeline,
            groups,
            values: 3 * size[0] * size[1],
            sums: buffer(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC),
            stamps,
            staging: buffer(
                u64::from(STAMPS) * 8 + bytes,
                wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            ),
            pending: None,
        }
    }

    /// Whether the last frame has been read, so that another can be measured.
    pub fn is_free(&self) -> bool {
        self.pending.is_none()
    }

    /// For the pass that draws the scene.
    pub fn scene_times(&self) -> Option<wgpu::RenderPassTimestampWrites<'_>> {
        self.stamps.as_ref().map(|stamps| wgpu::RenderPassTimestampWrites {
            query_set: &stamps.set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        })
    }

    /// For the pass that the network is recorded into.
    pub fn network_times(&self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        self.stamps.as_ref().map(|stamps| wgpu::ComputePassTimestampWrites {
            query_set: &stamps.set,
            beginning_of_pass_write_index: Some(2),
            end_of_pass_write_index: Some(3),
        })
    }

    /// Records what compares two pictures and copies all that was measured. Nothing where the last frame is not read yet.
    pub fn record(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        [a, b, surface]: [&wgpu::Texture; 3],
    ) {
        if !self.is_free() {
            return;
        }
        let (a, b, surface) = (whole(a), whole(b), whole(surface));
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("error"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[
                entry(0, wgpu::BindingResource::TextureView(&a)),
                entry(1, wgpu::BindingResource::TextureView(&b)),
                entry(2, wgpu::BindingResource::TextureView(&surface)),
                entry(3, self.sums.as_entire_binding()),
            ],
        });
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(self.groups[0], self.groups[1], 1);
        drop(pass);
        let stamps = u64::from(STAMPS) * 8;
        if let Some(s) = &self.stamps {
            encoder.resolve_query_set(&s.set, 0..STAMPS, &s.resolved, 0);
            encoder.copy_buffer_to_buffer(&s.resolved, 0, &self.staging, 0, stamps);
        }
        encoder.copy_buffer_to_buffer(&self.sums, 0, &self.staging, stamps, self.sums.size());
        let (sender, receiver) = channel();
        // Nobody receives it where the window was closed meanwhile.
        let tell = move |result| drop(sender.send(result));
        encoder.map_buffer_on_submit(&self.staging, wgpu::MapMode::Read, .., tell);
        self.pending = Some(receiver);
    }

    /// What was measured last, once, when it is there. The device has to be polled.
    ///
    /// # Errors
    /// Where the device is lost.
    pub fn read(&mut self) -> Result<Option<Measured>, Box<dyn Error>> {
        match self.pending.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return Ok(None),
            Some(Ok(result)) => result?,
            Some(Err(e)) => return Err(e.into()),
        }
        self.pending = None;
        let bytes = self.staging.get_mapped_range(..)?.to_vec();
        self.staging.unmap();
        let (stamps, sums) = bytes.split_at(STAMPS as usize * 8);
        let sums: Vec<f32> = bytemuck::pod_collect_to_vec(sums);
        let mean = sums.into_iter().map(f64::from).sum::<f64>() / f64::from(self.values);
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(stamps);
        let times = self.stamps.as_ref().map(|s| {
            let between =
                |i: usize| stamps[i + 1].saturating_sub(stamps[i]) as f64 * f64::from(s.period) / 1e6;
            [between(0), between(2)]
        });
        Ok(Some(Measured { psnr: -10.0 * mean.log10(), times }))
    }
}
