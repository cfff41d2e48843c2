//! A network inside a frame: an app draws a garment into a texture, a network looks at it, and what it says is drawn, all
//! in one submit.
//!
//! ```sh
//! cargo run --release --example embed_in_frame
//! ```
#![allow(clippy::disallowed_methods)] // this is the application: it submits

#[path = "common/draw.rs"]
mod draw;

use draw::{draw, pipeline, texture};
use weighbridge::graph::Model;
use weighbridge::optimize;
use weighbridge::plan::{Binding, Plan, PlanDescriptor};
use weighbridge::tensor::Pixels;
use wgpu::TextureUsages;

const NETWORK: &[u8] = include_bytes!("../assets/fashion_mnist/cnn.onnx");
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// Trousers, and a bar for each of ten classes, as long as its logit.
const SHADER: &str = "
@fragment fn garment(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
    let x = abs(at.x - 112.0);
    return vec4<f32>(vec3<f32>(select(0.0, 0.7, x < 52.0 && (x > 10.0 || at.y < 56.0))), 1.0);
}
@group(0) @binding(0) var<storage, read> logits: array<f32, 10>;
@fragment fn bars(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
    return vec4<f32>(0.2, 0.8, 0.4, 1.0) * f32(at.x < 112.0 + 6.0 * logits[u32(at.y / 22.4)]);
}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(app())
}

async fn app() -> Result<(), Box<dyn std::error::Error>> {
    // What the app has anyway.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = instance.request_adapter(&Default::default()).await?;
    let (device, queue) = adapter.request_device(&Default::default()).await?;
    let usage = TextureUsages::RENDER_ATTACHMENT | TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_SRC;
    let [scene, screen] = [(); 2].map(|()| texture(&device, [224, 224], FORMAT, usage));
    let [garment, bars] = ["garment", "bars"].map(|entry| pipeline(&device, SHADER, entry, FORMAT));

    // At load: all that can fail, and all that is allocated or compiled.
    let model = optimize::half(&Model::from_onnx_bytes(NETWORK)?)?.model;
    let (inputs, textures): (&[(&str, &[usize])], &[&str]) = (&[("input", &[1, 1, 28, 28])], &["input"]);
    let plan = Plan::new(&device, &model, &PlanDescriptor { inputs, textures, ..Default::default() })?;
    let logits = &plan.outputs()[0];
    let answer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("logits"),
        size: logits.bytes(),
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    // What the network was trained on.
    let pixels = Pixels { mean: [0.286; 4], scale: [1.0 / 0.353; 4], ..Default::default() };
    let eyes = Binding::from((&scene, pixels));
    let network = plan.bind(&[("input", eyes), (&logits.name, logits.view(&answer).into())])?;
    let answer = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &bars.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: answer.as_entire_binding() }],
    });

    // Every frame: a picture, the network on it, and what it says.
    let mut encoder = device.create_command_encoder(&Default::default());
    draw(&mut encoder, &scene, &garment, None);
    network.record(&mut encoder.begin_compute_pass(&Default::default()));
    draw(&mut encoder, &screen, &bars, Some(&answer));
    queue.submit([encoder.finish()]);

    let shown = draw::read(&device, &queue, &screen, 4);
    for (class, rows) in shown.chunks_exact(224 * 4 * 22).enumerate() {
        let row = &rows[224 * 4 * 11..][..224 * 4];
        println!("{class} {}", "#".repeat(row.chunks(16).filter(|p| p[1] > 0).count()));
    }
    Ok(())
}
