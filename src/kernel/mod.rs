//! From WGSL to pipelines and bind groups: the only code that makes either.

mod blocking;
mod cache;
mod choice;
mod describe;
mod source;

pub use blocking::{Blocking, has_matrix_units};
#[cfg(all(feature = "serde", not(target_arch = "wasm32")))]
pub(crate) use cache::write_whole;
pub(crate) use choice::choose;
pub use choice::{Choice, Chosen, Layout, Measured, Operand, Origin, Patch, Problem};
pub use source::Shader;
pub(crate) use source::Variant;

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What a kernel expects at a binding. Bindings are numbered from 0 in order, all in group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// `var<uniform>`.
    Uniform,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
    /// `texture_2d<f32>`, which is loaded from and not sampled.
    Texture,
    /// `texture_storage_2d<format, write>`.
    StorageTexture(wgpu::TextureFormat),
}

impl Slot {
    fn binding_type(self) -> wgpu::BindingType {
        let view_dimension = wgpu::TextureViewDimension::D2;
        let ty = match self {
            Slot::Uniform => wgpu::BufferBindingType::Uniform,
            Slot::Read => wgpu::BufferBindingType::Storage { read_only: true },
            Slot::Write => wgpu::BufferBindingType::Storage { read_only: false },
            Slot::Texture => {
                let sample_type = wgpu::TextureSampleType::Float { filterable: false };
                return wgpu::BindingType::Texture { sample_type, view_dimension, multisampled: false };
            }
            Slot::StorageTexture(format) => {
                let access = wgpu::StorageTextureAccess::WriteOnly;
                return wgpu::BindingType::StorageTexture { access, format, view_dimension };
            }
        };
        wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None }
    }
}

/// A compiled kernel.
pub(crate) struct Kernel {
    pub label: String,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Where a kernel is once it is compiled.
type Place = Arc<OnceLock<Arc<Kernel>>>;

/// The kernels of a device, each compiled once.
///
/// Cheap to clone: a handle. Everything that runs is built from one, and so from the caller's `&wgpu::Device` alone.
#[derive(Clone)]
pub struct Kernels {
    device: wgpu::Device,
    /// Whether kernels are those for CPU adapters. A browser's compiler sees no uniform in a copy of one, and refuses barriers
    /// and subgroups behind it.
    cpu: bool,
    /// Each is compiled where it is asked for first, with no lock held but its own.
    compiled: Arc<Mutex<HashMap<Shader, Place>>>,
    /// What is used instead of the default, by class of problem, and why.
    table: Arc<Mutex<HashMap<Problem, (Choice, Origin)>>>,
    /// The driver's, where the caller has opened one.
    cache: Arc<OnceLock<wgpu::PipelineCache>>,
}

impl Kernels {
    /// An empty set of kernels for a device.
    pub fn new(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        let browser = info.backend == wgpu::Backend::BrowserWebGpu;
        Self {
            device: device.clone(),
            cpu: info.device_type == wgpu::DeviceType::Cpu && !browser,
            compiled: Arc::default(),
            table: Arc::default(),
            cache: Arc::default(),
        }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// How many distinct kernels have been compiled.
    pub fn len(&self) -> usize {
        locked(&self.compiled).values().filter(|k| k.get().is_some()).count()
    }

    /// Whether nothing has been compiled yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The variant that calls bound from now on take for the problem's class, where their descriptors do not name one.
    ///
    /// # Errors
    /// See [`Choice::check`]: a variant that the device cannot run for this problem.
    pub fn set_choice(&self, problem: &Problem, choice: Choice) -> Result<()> {
        self.set_entry(problem, choice, Origin::Set)
    }

    /// What was set for the problem's class.
    pub fn choice(&self, problem: &Problem) -> Option<Choice> {
        self.entry(problem).map(|(choice, _)| choice)
    }

    /// [`Kernels::set_choice`] with a reason.
    pub(crate) fn set_entry(&self, problem: &Problem, choice: Choice, origin: Origin) -> Result<()> {
        choice.check(&self.device, "set_choice", problem)?;
        locked(&self.table).insert(problem.class(), (choice, origin));
        Ok(())
    }

    /// The same kernels with a table of this choice alone, whatever is in it that descriptors cannot name.
    pub(crate) fn with_choice(&self, problem: &Problem, choice: Choice) -> Result<Self> {
        let one = Self { table: Arc::default(), ..self.clone() };
        one.set_choice(problem, choice)?;
        Ok(one)
    }

    pub(crate) fn entry(&self, problem: &Problem) -> Option<(Choice, Origin)> {
        locked(&self.table).get(&problem.class()).copied()
    }

    /// What measurements have found fastest, in no order.
    #[cfg(feature = "serde")]
    pub(crate) fn measured(&self) -> Vec<(Problem, Choice, Measured)> {
        let table = locked(&self.table);
        let measured = table.iter().filter_map(|(&problem, &(choice, origin))| match origin {
            Origin::Tuned(m) => Some((problem, choice, m)),
            _ => None,
        });
        measured.collect()
    }

    pub(crate) fn get(&self, shader: Shader, slots: &[Slot]) -> Arc<Kernel> {
        let mut compiled = locked(&self.compiled);
        let place = match compiled.get(&shader) {
            Some(place) => place.clone(),
            None => compiled.entry(shader.clone()).or_default().clone(),
        };
        drop(compiled);
        let kernel = || {
            let shader = if self.cpu { shader.for_cpu_adapters() } else { shader };
            Arc::new(Kernel::new(&self.device, &shader, slots, self.cache.get()))
        };
        place.get_or_init(kernel).clone()
    }
}

/// What a panic elsewhere left is still a map.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    fn new(
        device: &wgpu::Device,
        shader: &Shader,
        slots: &[Slot],
        cache: Option<&wgpu::PipelineCache>,
    ) -> Self {
        let label = Some(shader.label.as_str());
        let entries: Vec<_> = slots
            .iter()
            .zip(0..)
            .map(|(slot, binding)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: slot.binding_type(),
                count: None,
            })
            .collect();
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(shader.source.as_str().into()),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: None,
            // Every kernel writes workgroup memory before it reads it; zeroing it first made pipelines up to 13
            // times slower to create.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache,
        });
        Self { label: shader.label.clone(), pipeline, layout }
    }
}

/// One dispatch: a kernel, what it reads and writes, and how many workgroups.
pub(crate) struct Dispatch {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    chosen: Option<Chosen>,
}

impl Dispatch {
    /// Binds `buffers` to the kernel's slots in order.
    pub fn new(
        device: &wgpu::Device,
        kernel: Arc<Kernel>,
        buffers: &[wgpu::BufferBinding<'_>],
        grid: [u32; 3],
    ) -> Self {
        let buffers = buffers.iter().cloned().map(wgpu::BindingResource::Buffer);
        Self::with_resources(device, kernel, buffers, grid)
    }

    /// The same for buffers and textures.
    pub fn with_resources<'a>(
        device: &wgpu::Device,
        kernel: Arc<Kernel>,
        resources: impl IntoIterator<Item = wgpu::BindingResource<'a>>,
        grid: [u32; 3],
    ) -> Self {
        let entries: Vec<_> = resources
            .into_iter()
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.label),
            layout: &kernel.layout,
            entries: &entries,
        });
        Self { kernel, group, grid, chosen: None }
    }

    /// Keeps what the kernel was chosen for.
    pub fn chosen(self, chosen: Option<Chosen>) -> Self {
        Self { chosen, ..self }
    }

    /// The kernel and variant.
    pub fn label(&self) -> &str {
        &self.kernel.label
    }

    /// After a dispatch of `last`; its own kernel is set then.
    fn record<'d>(
        &'d self,
        pass: &mut wgpu::ComputePass<'_>,
        last: Option<&'d Kernel>,
    ) -> Option<&'d Kernel> {
        if !last.is_some_and(|last| std::ptr::eq(last, &*self.kernel)) {
            pass.set_pipeline(&self.kernel.pipeline);
        }
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
        Some(&self.kernel)
    }
}

/// An op bound to its buffers: one or more dispatches, recorded as often as wanted.
#[derive(Default)]
pub struct Call {
    dispatches: Vec<Dispatch>,
}

impl Call {
    pub(crate) fn push(&mut self, dispatch: Dispatch) {
        // An empty grid is legal in WebGPU, but a no-op that some drivers trip over.
        if !dispatch.grid.contains(&0) {
            self.dispatches.push(dispatch);
        }
    }

    /// Adds the dispatches of another call after those here.
    pub(crate) fn extend(&mut self, other: Call) {
        self.dispatches.extend(other.dispatches);
    }

    /// Records the dispatches into the caller's pass. Infallible and repeatable.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.record_after(pass, None);
    }

    /// The same after a dispatch of `last`, which need not be set again. Returns the kernel that is set then.
    pub(crate) fn record_after<'c>(
        &'c self,
        pass: &mut wgpu::ComputePass<'_>,
        last: Option<&'c Kernel>,
    ) -> Option<&'c Kernel> {
        self.dispatches.iter().fold(last, |last, d| d.record(pass, last))
    }

    /// Records one of the dispatches, after a dispatch of `last`. Returns its kernel.
    pub(crate) fn record_only<'c>(
        &'c self,
        dispatch: usize,
        pass: &mut wgpu::ComputePass<'_>,
        last: Option<&'c Kernel>,
    ) -> Option<&'c Kernel> {
        self.dispatches[dispatch].record(pass, last)
    }

    /// What was chosen for each product among the dispatches.
    pub fn chosen(&self) -> impl Iterator<Item = &Chosen> {
        self.dispatches.iter().filter_map(|d| d.chosen.as_ref())
    }

    /// Why each dispatch has its variant, where there was a choice.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Option<Origin>> {
        self.dispatches.iter().map(|d| d.chosen.map(|c| c.origin))
    }

    /// Kernel and variant of each dispatch, with its workgroups.
    pub fn dispatches(&self) -> impl ExactSizeIterator<Item = (&str, [u32; 3])> {
        self.dispatches.iter().map(|d| (d.label(), d.grid))
    }
}

/// An immutable uniform buffer, made mapped so that no queue is needed.
pub(crate) fn uniform<T: bytemuck::Pod>(device: &wgpu::Device, value: &T) -> wgpu::Buffer {
    constant(device, bytemuck::bytes_of(value), wgpu::BufferUsages::UNIFORM)
}

/// An immutable buffer, made mapped so that no queue is needed.
pub(crate) fn constant(device: &wgpu::Device, bytes: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
    let size = (bytes.len().max(16) as u64).next_multiple_of(16);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("weighbridge constant"),
        size,
        usage,
        mapped_at_creation: true,
    });
    // Mapped at creation, so the range is there; where the device is lost, so is the content.
    if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
        view.slice(..bytes.len()).copy_from_slice(bytes);
    }
    buffer.unmap();
    buffer
}

/// Spreads `groups` workgroups over two dimensions; kernels find theirs as `id.x + id.y * num_workgroups.x`.
///
/// # Errors
/// [`Error::Limit`] where even both dimensions do not hold them.
pub(crate) fn grid(device: &wgpu::Device, op: &'static str, groups: u64) -> Result<[u32; 3]> {
    let limit = u64::from(device.limits().max_compute_workgroups_per_dimension);
    let y = groups.div_ceil(limit).max(1);
    if y > limit {
        return Err(Error::Limit {
            op,
            what: "number of workgroups".into(),
            needed: groups,
            limit: limit * limit,
        });
    }
    let x = groups.div_ceil(y);
    Ok([x as u32, y as u32, 1])
}
