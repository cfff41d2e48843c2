//! What recording a frame costs: it allocates what wgpu does for the same commands and nothing else, and a thousand frames
//! take no more memory than a few. A binary of its own, since its allocator counts; its tests take turns.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/transformer.rs"]
mod transformer;

use gpu::gpu;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use weighbridge::graph::Model;
use weighbridge::plan::{Binding, Frame, Plan, PlanDescriptor};
use weighbridge::{Gpu, optimize};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are allocated now.
static LIVE: AtomicIsize = AtomicIsize::new(0);
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: the system's allocator does the work.
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn frame(gpu: &Gpu, model: &Model, rows: usize) -> Frame {
    let name = &model.value(model.inputs()[0]).name;
    let width = model.value(model.inputs()[0]).shape[1].fixed().unwrap();
    let inputs: &[(&str, &[usize])] = &[(name, &[rows, width])];
    let descriptor = PlanDescriptor { inputs, ..Default::default() };
    let plan = Plan::with_kernels(gpu.kernels(), model, &descriptor).unwrap();
    let ports = || plan.inputs().iter().chain(plan.outputs());
    let buffers: Vec<wgpu::Buffer> = ports().map(|p| gpu.buffer(p.bytes()).unwrap()).collect();
    let views: Vec<_> = ports().zip(&buffers).map(|(p, b)| (p.name.as_str(), p.view(b))).collect();
    plan.bind(&views).unwrap()
}

/// Allocations while a fresh pass records.
fn allocations(gpu: &Gpu, record: impl Fn(&mut wgpu::ComputePass<'_>)) -> usize {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    record(&mut pass);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// A small kernel in two pipelines, and two bind groups: wgpu drops one that is set already.
fn by_hand(device: &wgpu::Device) -> ([wgpu::ComputePipeline; 2], [wgpu::BindGroup; 2]) {
    let source = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
        @compute @workgroup_size(1) fn main() { x[0] = 1u; }";
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = || {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        })
    };
    let pipelines = [pipeline(), pipeline()];
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let layout = pipelines[0].get_bind_group_layout(0);
    let group = || {
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
        })
    };
    let groups = [group(), group()];
    (pipelines, groups)
}

#[test]
fn recording_allocates_what_wgpu_does_and_no_more() {
    let Some(gpu) = gpu() else { return };
    let _turn = TURN.lock().unwrap();
    let (pipelines, groups) = by_hand(gpu.device());
    let layers = 30;
    let mlp = transformer::mlp(layers, 32);
    let dynamic = optimize::dynamic_int8(&mlp, &Default::default()).unwrap();
    // Layers with one kernel, which is set once; and with two that take turns.
    for (what, model, dispatches, sets) in
        [("float", &mlp, layers, 1), ("dynamic int8", &dynamic, 2 * layers, 2 * layers)]
    {
        let frame = frame(gpu, model, 8);
        assert_eq!(frame.dispatches(), dispatches, "{what}");
        let ours = || allocations(gpu, |pass| frame.record(pass));
        let bare = |sets: usize| {
            allocations(gpu, |pass| {
                for i in 0..dispatches {
                    if i < sets {
                        pass.set_pipeline(&pipelines[i % 2]);
                    }
                    pass.set_bind_group(0, &groups[i % 2], &[]);
                    pass.dispatch_workgroups(1, 1, 1);
                }
            })
        };
        // The first of each may fill caches of the thread.
        ours();
        bare(sets);
        let (ours, bare) = (ours(), bare(sets));
        println!("{what}: {ours} allocations for {dispatches} dispatches, {bare} by hand");
        assert_eq!(ours, bare, "{what}");
    }
}

/// Megabytes that the process takes, where the system tells: what the driver allocates, too.
fn resident() -> Option<usize> {
    let pages: usize = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4 / 1024)
}

#[test]
fn a_thousand_frames_take_no_more_memory_than_a_few() {
    let Some(gpu) = gpu() else { return };
    let _turn = TURN.lock().unwrap();
    let model = Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/cnn.onnx")).unwrap();
    let model = optimize::dynamic_int8(&model, &Default::default()).unwrap();
    let inputs: &[(&str, &[usize])] = &[("input", &[1, 1, 28, 28])];
    let descriptor = PlanDescriptor { inputs, textures: &["input"], ..Default::default() };
    let plan = Plan::with_kernels(gpu.kernels(), &model, &descriptor).unwrap();
    let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: 64, height: 64, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    });
    let logits = &plan.outputs()[0];
    let answer = gpu.buffer(logits.bytes()).unwrap();
    let bound = [("input", Binding::from(&texture)), (logits.name.as_str(), logits.view(&answer).into())];
    let frame = plan.bind(&bound).unwrap();
    let run = |frames: usize| {
        for i in 0..frames {
            gpu.submit(|pass| frame.record(pass));
            // An app has a few frames in flight.
            if i % 4 == 3 {
                gpu.wait().unwrap();
            }
        }
        (LIVE.load(Ordering::Relaxed), resident())
    };
    let (few, resident_few) = run(100);
    let (many, resident_many) = run(1000);
    println!(
        "{few} bytes and {resident_few:?} MB after 100 frames, {many} and {resident_many:?} after 1,100"
    );
    // wgpu's own lists may double once; a byte for each dispatch would be more.
    assert!(many - few < 64 * 1024, "{few} bytes became {many}");
    if let (Some(few), Some(many)) = (resident_few, resident_many) {
        assert!(many <= few + 8, "{few} MB became {many}");
    }
}
