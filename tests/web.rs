//! The answers that the page of `examples/web` is held to (`scripts/test-web`) are the crate's own.
//!
//! `WEIGHBRIDGE_WRITE_ANSWERS=1` writes them anew.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::gpu;
use serde_json::{Value, json};
use std::io::Read;
use weighbridge::evaluate::Variant;
use weighbridge::graph::Model;
use weighbridge::tensor::Tensor;
use weighbridge::{Gpu, Session};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/web/answers.json");
const PIXELS: usize = 28 * 28;
const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];
/// Test images, one of each class, of those that the page offers first; all variants get them right.
const IMAGES: [usize; 10] = [19, 2, 1, 13, 6, 8, 4, 9, 18, 0];
/// How far a browser's probabilities may be from these. int8 rounds, and a sum on the edge falls either way.
const TOLERANCES: [(&str, f64); 4] =
    [("fp32", 1e-4), ("fp16", 2e-3), ("static-int8", 0.01), ("dynamic-int8", 0.01)];

/// The bytes of an array, of which some are left out where they are many.
fn bytes(file: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A header of 128 bytes.
    flate2::read::GzDecoder::new(file).take(128 + count as u64).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 128 + count);
    bytes.split_off(128)
}

fn tensor(pixels: &[u8]) -> Tensor {
    let values: Vec<f32> = pixels.iter().map(|&p| (f32::from(p) / 255.0 - 0.2860) / 0.3530).collect();
    Tensor::f32([pixels.len() / PIXELS, 1, 28, 28], values).unwrap()
}

async fn answers(gpu: &Gpu) -> Value {
    let model = Model::from_onnx_bytes(include_bytes!("../assets/fashion_mnist/cnn.onnx")).unwrap();
    let input = model.value(model.inputs()[0]).name.clone();
    let calibration = bytes(include_bytes!("../assets/fashion_mnist/calib_images_u8.npy.gz"), 512 * PIXELS);
    let batches =
        calibration.chunks(32 * PIXELS).map(|pixels| vec![(input.clone(), tensor(pixels))]).collect();
    let variants = Variant::all(gpu, &model, batches).await.unwrap();
    let images = bytes(include_bytes!("../assets/fashion_mnist/test10k_images_u8.npy.gz"), 20 * PIXELS);
    let labels = &include_bytes!("../assets/fashion_mnist/test10k_labels.npy")[128..];
    let mut all = IMAGES.map(|i| json!({ "index": i, "label": CLASSES[labels[i] as usize] }));
    for (name, _) in TOLERANCES {
        let variant = variants.iter().find(|v| v.name == name).unwrap();
        let session = Session::new(gpu, &variant.model).unwrap();
        for (image, index) in all.iter_mut().zip(IMAGES) {
            let x = tensor(&images[index * PIXELS..][..PIXELS]);
            let logits = session.run(&[(&input, &x)]).await.unwrap().remove(0);
            let powers: Vec<f64> = logits.as_f32().unwrap().iter().map(|&x| f64::from(x).exp()).collect();
            let sum: f64 = powers.iter().sum();
            image[name] = powers.iter().map(|p| (p / sum * 1e5).round() / 1e5).collect();
        }
    }
    let tolerance: serde_json::Map<_, _> = TOLERANCES.iter().map(|&(n, t)| (n.into(), t.into())).collect();
    json!({ "tolerance": tolerance, "images": all })
}

#[test]
fn the_page_is_held_to_the_crates_own_answers() {
    let Some(gpu) = gpu() else { return };
    let found = pollster::block_on(answers(gpu));
    if std::env::var_os("WEIGHBRIDGE_WRITE_ANSWERS").is_some() {
        let text = serde_json::to_string(&found).unwrap().replace("{\"dynamic", "\n{\"dynamic");
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(found["tolerance"], written["tolerance"]);
    let images = |of: &Value| of["images"].as_array().unwrap().clone();
    assert_eq!(images(&written).len(), IMAGES.len());
    for (found, written) in images(&found).iter().zip(images(&written)) {
        assert_eq!((&found["index"], &found["label"]), (&written["index"], &written["label"]));
        for (name, tolerance) in TOLERANCES {
            let numbers = |of: &Value| -> Vec<f64> {
                of[name].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect()
            };
            let (f, w) = (numbers(found), numbers(&written));
            let best = f.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            assert_eq!(found["label"], CLASSES[best], "{name} of {}: {f:?}", found["index"]);
            let apart = f.iter().zip(&w).map(|(f, w)| (f - w).abs()).fold(0.0, f64::max);
            assert!(apart <= tolerance, "{name} of {}: {apart} apart\n{f:?}\n{w:?}", found["index"]);
        }
    }
}
