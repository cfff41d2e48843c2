//! Nothing behind the caller's back: on wgpu's noop backend, which runs copies and clears and no kernels, so that whatever
//! else touched a buffer, submitted or waited shows. Needs no adapter.
#![allow(clippy::disallowed_methods)] // here the test is the app

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use weighbridge::graph::Model;
use weighbridge::optimize;
use weighbridge::plan::{Binding, Cursor, Plan, PlanDescriptor};
use weighbridge::tensor::Element;

const CNN: &[u8] = include_bytes!("../assets/fashion_mnist/cnn.onnx");
const POISON: u8 = 0xa5;

fn noop() -> (wgpu::Device, wgpu::Queue) {
    let noop = wgpu::NoopBackendOptions {
        enable: true,
        features: Some(wgpu::Features::empty()),
        limits: Some(wgpu::Limits::default()),
        ..Default::default()
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    pollster::block_on(async {
        let adapter = instance.request_adapter(&Default::default()).await.expect("it is enabled");
        adapter.request_device(&Default::default()).await.expect("it does nothing")
    })
}

/// The app's buffers, full of poison.
fn poisoned(device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: true,
    });
    buffer
        .get_mapped_range_mut(..)
        .expect("it is mapped")
        .slice(..)
        .copy_from_slice(&vec![POISON; bytes as usize]);
    buffer.unmap();
    buffer
}

/// What an app can see of what happens on its device: how many submits there were, and whether any callback has run.
struct Watch {
    device: wgpu::Device,
    queue: wgpu::Queue,
    submitted: u64,
    /// Set by the callback of a buffer that could be mapped at once, and that is when somebody polls or submits.
    woken: Arc<AtomicBool>,
    _mapped: wgpu::Buffer,
}

impl Watch {
    /// From a submit of the app's on.
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let woken = Arc::new(AtomicBool::new(false));
        let flag = woken.clone();
        // Mapping takes a number, too: what waits to be written to the buffer is submitted first.
        let submitted = Self::index(queue.submit([])) + 1;
        let mapped = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        mapped.map_async(wgpu::MapMode::Read, .., move |_| flag.store(true, Ordering::Relaxed));
        Self { device: device.clone(), queue: queue.clone(), submitted, woken, _mapped: mapped }
    }

    /// wgpu counts submits from the first on; it says so in an index's Debug alone.
    fn index(submission: wgpu::SubmissionIndex) -> u64 {
        let digits: String = format!("{submission:?}").chars().filter(char::is_ascii_digit).collect();
        digits.parse().expect("an index")
    }

    /// How many others than the app submitted, and whether somebody polled.
    fn end(self) -> (u64, bool) {
        let woken = self.woken.load(Ordering::Relaxed);
        let submitted = Self::index(self.queue.submit([]));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("nothing to wait for");
        assert!(self.woken.load(Ordering::Relaxed), "a poll runs the callback");
        (submitted - self.submitted - 1, woken)
    }
}

fn bytes(device: &wgpu::Device, queue: &wgpu::Queue, buffer: &wgpu::Buffer) -> Vec<u8> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely()).expect("nothing to wait for");
    staging.get_mapped_range(..).expect("it is mapped").to_vec()
}

#[test]
fn the_watch_sees_what_it_should() {
    let (device, queue) = noop();
    assert_eq!(Watch::new(&device, &queue).end(), (0, false));
    let watch = Watch::new(&device, &queue);
    queue.submit([]);
    queue.submit([]);
    assert_eq!(watch.end().0, 2);
    let watch = Watch::new(&device, &queue);
    device.poll(wgpu::PollType::Poll).expect("nothing to wait for");
    assert_eq!(watch.end(), (0, true));
    let buffer = poisoned(&device, 16);
    assert_eq!(bytes(&device, &queue, &buffer), [POISON; 16]);
    queue.write_buffer(&buffer, 4, &[1; 4]);
    assert_eq!(bytes(&device, &queue, &buffer)[..8], [POISON, POISON, POISON, POISON, 1, 1, 1, 1]);
}

#[test]
fn nothing_is_submitted_polled_or_written() {
    let (device, queue) = noop();
    let model = Model::from_onnx_bytes(CNN).unwrap();
    let dynamic = optimize::dynamic_int8(&model, &Default::default()).unwrap();
    for (model, textures) in
        [(&model, &[][..]), (&dynamic, &[]), (&model, &["input"]), (&dynamic, &["input"])]
    {
        let image = poisoned(&device, 784 * 4);
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: 64, height: 32, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        });
        let answer = poisoned(&device, 64);
        let watch = Watch::new(&device, &queue);
        let inputs: &[(&str, &[usize])] = &[("input", &[1, 1, 28, 28])];
        let plan =
            Plan::new(&device, model, &PlanDescriptor { inputs, textures, ..Default::default() }).unwrap();
        let logits = &plan.outputs()[0];
        assert_eq!((logits.element, logits.bytes()), (Element::F32, 40));
        let input: Binding<'_> =
            if textures.is_empty() { plan.inputs()[0].view(&image).into() } else { (&texture).into() };
        let mut frame = plan.bind(&[("input", input), (&logits.name, logits.view(&answer).into())]).unwrap();
        frame.set_costs(&vec![1.0; frame.dispatches()]).unwrap();
        plan.explain().unwrap();
        let mut encoder = device.create_command_encoder(&Default::default());
        frame.encode(&mut encoder);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        frame.record(&mut pass);
        let mut cursor = Cursor::default();
        while !frame.record_range(&mut pass, &mut cursor, Duration::from_nanos(3)) {}
        drop(pass);
        let commands = encoder.finish();
        assert_eq!(watch.end(), (0, false), "somebody submitted or polled");
        // Nothing was written through the queue...
        let poison = |buffer: &wgpu::Buffer| bytes(&device, &queue, buffer).iter().all(|&b| b == POISON);
        assert!(poison(&image) && poison(&answer), "written before the app's submit");
        // ... and of what was recorded, dispatches alone, which do nothing here, write.
        queue.submit([commands]);
        assert!(poison(&image) && poison(&answer), "copied or cleared in the app's encoder");
    }
}
