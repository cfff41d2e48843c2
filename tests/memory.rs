//! What plans take of GPU memory, against what no plan could do without.

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/transformer.rs"]
mod transformer;

use gpu::{Rng, gpu, has_broadcast};
use std::collections::HashSet;
use transformer::Encoder;
use weighbridge::calibrate::Calibrator;
use weighbridge::graph::{Model, Op};
use weighbridge::optimize;
use weighbridge::plan::{Plan, PlanDescriptor};
use weighbridge::quant::Observer;
use weighbridge::tensor::Tensor;
use weighbridge::{Gpu, Session};

fn embedded(bytes: &[u8]) -> Model {
    Model::from_onnx_bytes(bytes).unwrap()
}

fn images(batch: usize) -> Vec<(&'static str, Tensor)> {
    vec![("input", Tensor::f32([batch, 1, 28, 28], Rng(3).f32s(batch * 784)).unwrap())]
}

/// Every model with inputs for a batch.
type Inputs = fn(usize) -> Vec<(&'static str, Tensor)>;

fn models() -> Vec<(&'static str, Model, Inputs)> {
    const BLOCK: Encoder = Encoder { layers: 1, heads: 4, d: 32, inner: 512, ..Encoder::MINI_LM };
    vec![
        ("cnn", embedded(include_bytes!("../assets/fashion_mnist/cnn.onnx")), images),
        ("mlp", embedded(include_bytes!("../assets/fashion_mnist/mlp.onnx")), images),
        ("vit", embedded(include_bytes!("../assets/fashion_mnist/vit.onnx")), images),
        ("transformer block", BLOCK.model(), |batch| BLOCK.inputs(batch, 48, 3)),
    ]
}

fn modes(gpu: &Gpu, model: &Model, inputs: Inputs) -> Vec<(&'static str, Model)> {
    let mut calibrator = Calibrator::new(gpu, model, Observer::MinMax).unwrap();
    let batch = inputs(2);
    let batch: Vec<(&str, &Tensor)> = batch.iter().map(|(n, t)| (*n, t)).collect();
    calibrator.observe(&batch).unwrap();
    let ranges = pollster::block_on(calibrator.finish()).unwrap();
    vec![
        ("fp32", model.clone()),
        ("fp16", optimize::half(model).unwrap().model),
        ("static int8", optimize::static_int8(model, &ranges, &Default::default()).unwrap()),
        ("dynamic int8", optimize::dynamic_int8(model, &Default::default()).unwrap()),
        ("int8 weights", optimize::weight_only(model, &Default::default()).unwrap()),
    ]
}

#[test]
fn plans_take_little_more_than_they_must() {
    let Some(gpu) = gpu() else { return };
    let mut over = Vec::new();
    for (name, model, inputs) in models() {
        for (mode, model) in modes(gpu, &model, inputs) {
            for batch in [1, 8, 64] {
                let tensors = inputs(batch);
                let shapes: Vec<(&str, &[usize])> = tensors.iter().map(|(n, t)| (*n, t.shape())).collect();
                let descriptor = PlanDescriptor { inputs: &shapes, ..Default::default() };
                let memory = Plan::with_kernels(gpu.kernels(), &model, &descriptor).unwrap().memory();
                let least = memory.weights + memory.lower_bound;
                let ratio = (memory.weights + memory.activations) as f64 / least as f64;
                // Padding to words, sums of columns and parameters are all that a device holds beside the weights.
                let held = memory.weights as f64 / model.constant_bytes() as f64;
                let line = format!(
                    "{name} {mode} {batch}: weights {} ({held:.3} of the model's), activations {} for {} at least, ratio {ratio:.3}",
                    memory.weights, memory.activations, memory.lower_bound
                );
                println!("{line}");
                if ratio > 1.25 || held > 1.25 {
                    over.push(line);
                }
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}

/// Where much would be wasted, normalizations are held to one buffer: what comes out is what comes out where all that they
/// make leaves the model, and lies in no pool.
#[test]
fn one_buffer_makes_the_same() {
    let Some(gpu) = gpu() else { return };
    let (_, model, inputs) = models().pop().unwrap();
    let (mode, model) = modes(gpu, &model, inputs).swap_remove(2);
    assert_eq!(mode, "static int8");
    let tensors = inputs(2);
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
    let shapes: Vec<(&str, Vec<usize>)> = tensors.iter().map(|(n, t)| (*n, t.shape().to_vec())).collect();
    let run = |model: &Model| {
        let session = Session::new(gpu, model).unwrap();
        let made = pollster::block_on(session.run(&named)).unwrap().remove(0);
        (made, session.explain(&shapes).unwrap().contains("in a buffer that is written"))
    };
    let mut apart = model.clone();
    let mut outputs = model.outputs().to_vec();
    for node in model.nodes() {
        let beside = match node.op {
            Op::LayerNorm { .. } => &node.outputs[..1],
            Op::Add { .. } => &node.inputs.iter().flatten().copied().collect::<Vec<_>>()[..],
            _ => &[],
        };
        outputs.extend(beside.iter().filter(|id| !model.inputs().contains(id)));
    }
    let mut seen = HashSet::new();
    outputs.retain(|id| seen.insert(*id));
    apart.set_outputs(&outputs).unwrap();
    let ((together, shared), (apart, alone)) = (run(&model), run(&apart));
    // Attention in three steps has scores that need as much.
    assert_eq!((shared, alone), (has_broadcast(gpu), false));
    assert_eq!(together, apart);
}
