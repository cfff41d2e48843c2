//! A model and what the optimizations make of it.

use crate::Gpu;
use crate::calibrate::Calibrator;
use crate::error::Result;
use crate::evaluate::Batch;
use crate::graph::Model;
use crate::optimize;
use crate::quant::Observer;
use std::time::{Duration, Instant};

/// A model in one of its forms.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `fp32`, `fp16`, `static-int8`, `dynamic-int8` or `weight-only-int8`.
    pub name: &'static str,
    /// The model.
    pub model: Model,
    /// How long calibration took, where it was needed.
    pub calibration: Option<Duration>,
}

impl Variant {
    /// An f32 model, the same in f16, in static int8 calibrated on `batches`, in dynamic int8, and with int8 weights only
    /// (a scale for each output).
    ///
    /// # Errors
    /// Those of [`Calibrator`] and [`crate::optimize`].
    pub async fn all(gpu: &Gpu, model: &Model, batches: Vec<Batch>) -> Result<Vec<Self>> {
        let half = optimize::half(model)?.model;
        let dynamic = optimize::dynamic_int8(model, &Default::default())?;
        let weights = optimize::weight_only(model, &Default::default())?;

        let start = Instant::now();
        let mut calibrator = Calibrator::new(gpu, model, Observer::MinMax)?;
        calibrator.observe_all(futures_util::stream::iter(batches.into_iter().map(Ok))).await?;
        let ranges = calibrator.finish().await?;
        let calibration = Some(start.elapsed());
        let fixed = optimize::static_int8(model, &ranges, &Default::default())?;

        let variant = |name, model, calibration| Self { name, model, calibration };
        Ok(vec![
            variant("fp32", model.clone(), None),
            variant("fp16", half, None),
            variant("static-int8", fixed, calibration),
            variant("dynamic-int8", dynamic, None),
            variant("weight-only-int8", weights, None),
        ])
    }
}
