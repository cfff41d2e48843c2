//! A network in an application that has a device, a queue and an encoder of its own.
//!
//! ```sh
//! cargo run --release --example own_device
//! ```
#![allow(clippy::disallowed_methods)] // this is the application: it writes, submits and waits

use weighbridge::graph::Model;
use weighbridge::optimize;
use weighbridge::plan::{Plan, PlanDescriptor};

const NETWORK: &[u8] = include_bytes!("../assets/fashion_mnist/mlp.onnx");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // What the application has anyway.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor::default()).await?;
    let buffer = |label, size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage: wgpu::BufferUsages::STORAGE | usage,
            mapped_at_creation: false,
        })
    };

    // At load: all that can fail, and all that is allocated or compiled.
    let model = optimize::half(&Model::from_onnx_bytes(NETWORK)?)?.model;
    let input = model.value(model.inputs()[0]).name.clone();
    let descriptor = PlanDescriptor { inputs: &[(&input, &[1, 1, 28, 28])], ..Default::default() };
    let plan = Plan::new(&device, &model, &descriptor)?;
    let (image, logits) = (&plan.inputs()[0], &plan.outputs()[0]);
    let image_buffer = buffer("image", image.bytes(), wgpu::BufferUsages::COPY_DST);
    let logits_buffer = buffer("logits", logits.bytes(), wgpu::BufferUsages::COPY_SRC);
    let frame =
        plan.bind(&[(&image.name, image.view(&image_buffer)), (&logits.name, logits.view(&logits_buffer))])?;

    // Every frame: recorded between whatever else the application does in its pass.
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("staging"),
        size: logits.bytes(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    queue.write_buffer(&image_buffer, 0, bytemuck::cast_slice(&[0.5_f32; 28 * 28]));
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    frame.record(&mut pass);
    drop(pass);
    encoder.copy_buffer_to_buffer(&logits_buffer, 0, &staging, 0, logits.bytes());
    queue.submit([encoder.finish()]);

    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let bytes = staging.get_mapped_range(..)?;
    println!("logits: {:?}", bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)[..10].to_vec());
    Ok(())
}
