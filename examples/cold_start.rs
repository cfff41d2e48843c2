//! What the first inference of a process takes, phase by phase: run it anew for each figure, and on Mesa with
//! `MESA_SHADER_CACHE_DISABLE=true`, since what the driver has on disk is not cold.
//!
//! ```sh
//! cargo run --release --example cold_start -- cnn dynamic
//! ```
//!
//! The network is `cnn`, `mlp`, `vit` or a file, the second argument `float`, `half` or `dynamic`, the third a file for
//! compiled pipelines.

use std::time::Instant;
use weighbridge::graph::Model;
use weighbridge::plan::{Plan, PlanDescriptor};
use weighbridge::{Gpu, optimize};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut last = start;
    let mut phase = |what: &str| {
        println!("{:8.1} ms  {what}", last.elapsed().as_secs_f64() * 1e3);
        last = Instant::now();
    };
    let args: Vec<String> = std::env::args().skip(1).collect();
    let network = args.first().map_or("cnn", String::as_str);
    let gpu = pollster::block_on(Gpu::new())?;
    phase("device");
    let model = match network {
        "cnn" => Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/cnn.onnx"))?,
        "mlp" => Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/mlp.onnx"))?,
        "vit" => Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/vit.onnx"))?,
        path => Model::from_onnx_file(path)?,
    };
    let model = match args.get(1).map_or("float", String::as_str) {
        "half" => optimize::half(&model)?.model,
        "dynamic" => optimize::dynamic_int8(&model, &Default::default())?,
        _ => model,
    };
    phase("model");
    if let Some(path) = args.get(2) {
        let taken = gpu.kernels().load_pipelines(path)?;
        phase(&format!("file of pipelines: {taken:?} bytes"));
    }
    // What is open of the shapes is 1.
    let shapes: Vec<(String, Vec<usize>)> = model
        .inputs()
        .iter()
        .map(|&id| {
            let value = model.value(id);
            (value.name.clone(), value.shape.iter().map(|d| d.fixed().unwrap_or(1)).collect())
        })
        .collect();
    let inputs: Vec<_> = shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
    let descriptor = PlanDescriptor { inputs: &inputs, ..Default::default() };
    let plan = Plan::with_kernels(gpu.kernels(), &model, &descriptor)?;
    phase("plan, weights packed and uploaded");
    let ports = || plan.inputs().iter().chain(plan.outputs());
    let buffers = ports().map(|port| gpu.buffer(port.bytes())).collect::<Result<Vec<_>, _>>()?;
    let views: Vec<_> = ports().zip(&buffers).map(|(port, b)| (port.name.as_str(), port.view(b))).collect();
    let frame = plan.bind(&views)?;
    phase(&format!("{} pipelines, {} dispatches bound", gpu.kernels().len(), frame.dispatches()));
    gpu.submit(|pass| frame.record(pass));
    gpu.wait()?;
    phase("first run, where some drivers compile");
    let first = start.elapsed();
    gpu.submit(|pass| frame.record(pass));
    gpu.wait()?;
    phase("second run");
    println!("{:8.1} ms  to the first outputs of {network}", first.as_secs_f64() * 1e3);
    if let Some(path) = args.get(2) {
        gpu.kernels().save_pipelines(path)?;
        phase("pipelines written");
    }
    Ok(())
}
