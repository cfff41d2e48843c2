//! A network in four variants on a page: what JavaScript calls. Nothing here is about the page itself.

use futures_util::stream;
use std::sync::{Arc, Mutex, PoisonError};
use wasm_bindgen::prelude::*;
use weighbridge::calibrate::Calibrator;
use weighbridge::graph::Model;
use weighbridge::quant::Observer;
use weighbridge::tensor::Tensor;
use weighbridge::{Gpu, Session, optimize};

type Result<T> = std::result::Result<T, JsError>;

/// Height and width of an image.
const SIZE: usize = 28;
/// Images in a batch of the calibration.
const BATCH: usize = 32;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(text: &str);
}

/// A panic's message would otherwise be lost.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| error(&info.to_string())));
}

/// A browser's device.
#[wasm_bindgen]
pub struct Device {
    // Sessions borrow it, and live as long as the page.
    gpu: &'static Gpu,
    failed: Failed,
}

/// What the device complained about first. On the web that comes later than the call it is about.
type Failed = Arc<Mutex<Option<String>>>;

#[wasm_bindgen]
impl Device {
    /// The device that the browser chooses.
    pub async fn open() -> Result<Device> {
        let gpu: &'static Gpu = Box::leak(Box::new(Gpu::new().await?));
        let failed = Failed::default();
        let keep = |failed: &Failed, text: String| {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        };
        let complained = failed.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |e| keep(&complained, e.to_string())));
        let lost = failed.clone();
        gpu.device()
            .set_device_lost_callback(move |_, why| keep(&lost, format!("the device is lost: {why}")));
        Ok(Self { gpu, failed })
    }

    /// What the browser says about it, which may be nothing.
    pub fn name(&self) -> String {
        self.gpu.device().adapter_info().name
    }

    /// Whether it is a processor that stands in for a GPU.
    pub fn software(&self) -> bool {
        self.gpu.device().adapter_info().device_type == wgpu::DeviceType::Cpu
    }

    /// The ranges of a network's activations, measured over images of 28 x 28 bytes each.
    pub async fn calibrate(&self, network: &Network, images: Vec<u8>) -> Result<Ranges> {
        let batches = images
            .chunks(BATCH * SIZE * SIZE)
            .map(|pixels| Ok(vec![(network.input.clone(), tensor(pixels)?)]));
        let mut calibrator = Calibrator::new(self.gpu, &network.model, Observer::MinMax)?;
        calibrator.observe_all(stream::iter(batches)).await?;
        let ranges = calibrator.finish().await?;
        self.check()?;
        Ok(Ranges(ranges))
    }

    /// A variant of a network by name, ready to run.
    pub fn prepare(&self, network: &Network, variant: &str, ranges: &Ranges) -> Result<Variant> {
        let model = match variant {
            "fp32" => network.model.clone(),
            "fp16" => optimize::half(&network.model)?.model,
            "static-int8" => optimize::static_int8(&network.model, &ranges.0, &Default::default())?,
            "dynamic-int8" => optimize::dynamic_int8(&network.model, &Default::default())?,
            _ => return Err(JsError::new(&format!("there is no variant `{variant}`"))),
        };
        let session = Session::new(self.gpu, &model)?;
        let gpu_bytes = session.gpu_bytes(&[(&network.input, vec![1, 1, SIZE, SIZE])])?;
        let file_bytes = model.to_onnx_bytes()?.len();
        let (input, failed) = (network.input.clone(), self.failed.clone());
        Ok(Variant { session, input, failed, file_bytes, gpu_bytes: gpu_bytes as usize })
    }

    fn check(&self) -> Result<()> {
        check(&self.failed)
    }
}

fn check(failed: &Failed) -> Result<()> {
    match &*failed.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(text) => Err(JsError::new(text)),
        None => Ok(()),
    }
}

/// Ranges of activations.
#[wasm_bindgen]
pub struct Ranges(weighbridge::calibrate::Ranges);

/// A network that classifies images.
#[wasm_bindgen]
pub struct Network {
    model: Model,
    input: String,
}

#[wasm_bindgen]
impl Network {
    /// From the bytes of an ONNX file.
    #[wasm_bindgen(constructor)]
    pub fn new(onnx: &[u8]) -> Result<Network> {
        let model = Model::from_onnx_bytes(onnx)?;
        let [input] = model.inputs() else {
            return Err(JsError::new(&format!("the network has {} inputs, not 1", model.inputs().len())));
        };
        let input = model.value(*input).name.clone();
        Ok(Self { model, input })
    }
}

/// A network in one of its forms, on a device.
#[wasm_bindgen]
pub struct Variant {
    session: Session<'static>,
    input: String,
    failed: Failed,
    /// Of its ONNX file.
    #[wasm_bindgen(readonly)]
    pub file_bytes: usize,
    /// Weights and activations for one image.
    #[wasm_bindgen(readonly)]
    pub gpu_bytes: usize,
}

#[wasm_bindgen]
impl Variant {
    /// The probability of each class for an image of 28 x 28 bytes: uploaded, computed and read back.
    pub async fn classify(&self, pixels: Vec<u8>) -> Result<Vec<f32>> {
        let outputs = self.session.run(&[(&self.input, &tensor(&pixels)?)]).await?;
        check(&self.failed)?;
        let logits = outputs.first().and_then(Tensor::as_f32).ok_or_else(|| JsError::new("no f32 output"))?;
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = logits.iter().map(|x| (x - most).exp()).collect();
        let sum: f32 = powers.iter().sum();
        Ok(powers.iter().map(|p| p / sum).collect())
    }
}

/// Images as the network was trained on them: their mean and deviation are those of the training images.
fn tensor(pixels: &[u8]) -> weighbridge::Result<Tensor> {
    let values: Vec<f32> = pixels.iter().map(|&p| (f32::from(p) / 255.0 - 0.2860) / 0.3530).collect();
    Tensor::f32([pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE], values)
}
