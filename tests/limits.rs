//! Small devices: where a grid has to be folded, and where there is no feature at all.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, device, gpu};
use weighbridge::calibrate::Calibrator;
use weighbridge::graph::Model;
use weighbridge::quant::Observer;
use weighbridge::tensor::Tensor;
use weighbridge::{Gpu, Session, optimize};

const BATCH: usize = 8;

fn input() -> Tensor {
    Tensor::f32([BATCH, 1, 28, 28], Rng(5).f32s(BATCH * 784)).unwrap()
}

/// The network in fp32, fp16, static and dynamic int8.
fn variants(gpu: &Gpu) -> [Model; 4] {
    let bytes = include_bytes!("../assets/fashion_mnist/cnn.onnx");
    let model = Model::from_onnx_bytes(bytes).unwrap();
    let mut calibrator = Calibrator::new(gpu, &model, Observer::MinMax).unwrap();
    calibrator.observe(&[("input", &input())]).unwrap();
    let ranges = pollster::block_on(calibrator.finish()).unwrap();
    let half = optimize::half(&model).unwrap().model;
    let fixed = optimize::static_int8(&model, &ranges, &Default::default()).unwrap();
    let dynamic = optimize::dynamic_int8(&model, &Default::default()).unwrap();
    [model, half, fixed, dynamic]
}

fn run(gpu: &Gpu, model: &Model) -> Vec<f32> {
    let session = Session::new(gpu, model).unwrap();
    pollster::block_on(session.run(&[("input", &input())])).unwrap()[0].to_f32()
}

#[test]
fn a_grid_wider_than_the_device_is_folded() {
    let Some(gpu) = gpu() else { return };
    // The largest dispatches here have some hundreds of workgroups, and so several rows, the last one ragged.
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 41, ..gpu.device().limits() };
    let small = device(gpu, gpu.device().features(), limits);
    for model in variants(gpu) {
        assert_eq!(run(&small, &model), run(gpu, &model));
    }
}

#[test]
fn no_feature_and_only_the_limits_that_webgpu_promises() {
    let Some(gpu) = gpu() else { return };
    let small = device(gpu, wgpu::Features::empty(), wgpu::Limits::default());
    for model in variants(gpu) {
        let (got, want) = (run(&small, &model), run(gpu, &model));
        let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (g, w) in got.iter().zip(&want) {
            // Sums in another order: 3136 terms at most, and an int8 step that a tie may have taken.
            assert!((g - w).abs() <= 0.02 * largest, "{g} is not {w}");
        }
    }
}
