//! What is checked: the scalar reference, and beside it whatever else implements [`Backend`].

use crate::harness::Run;
use half::f16;
use weighbridge::graph::Activation;
use weighbridge::quant::{Accumulator, Observer, QuantParams, Range, Scheme};
use weighbridge::reference::{self, Axis, BLayout, Bias, ConvI8, Extrema, Gemm, GemmI8, Scales};

/// How a real is brought into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// PyTorch: times the reciprocal.
    Reciprocal,
    /// ONNX: divided by the scale. A backend without a correctly rounded division may use the reciprocal.
    True,
}

/// How accumulators become int8.
pub struct Requantize<'a> {
    pub scales: Scales<'a>,
    pub bias: Bias<'a>,
    pub activation: Activation,
    pub out: QuantParams,
}

/// Operands of a product of f16 matrices, `[m, k]` by `[n, k]` or `[k, n]`.
pub struct GemmF16<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: &'a [f16],
    pub b: &'a [f16],
    pub layout: BLayout,
}

/// An implementation of the operations. What one does not have, it answers with `Stop::LeftOut` and the reason.
pub trait Backend {
    fn name(&self) -> &'static str;
    /// Whether f32 arithmetic rounds as a CPU's does. Where it does not, an integer may be one step off where the real
    /// is at a tie.
    fn exact(&self) -> bool;
    fn minmax(&self, x: &[f32], axis: Axis) -> Run<Vec<Extrema>>;
    /// The ranges of all channels after each batch, of one observer over all batches.
    fn observe(&self, observer: Observer, batches: &[(&[f32], Axis)]) -> Run<Vec<Vec<Range>>>;
    /// Scale and zero point of each range.
    fn params(&self, ranges: &[Range], scheme: &Scheme) -> Run<Vec<QuantParams>>;
    fn quantize(&self, x: &[f32], axis: Axis, params: &[QuantParams], division: Division) -> Run<Vec<i8>>;
    fn dequantize(&self, q: &[i8], axis: Axis, params: &[QuantParams]) -> Run<Vec<f32>>;
    /// To f16.
    fn narrow(&self, x: &[f32]) -> Run<Vec<f16>>;
    /// From f16.
    fn widen(&self, x: &[f16]) -> Run<Vec<f32>>;
    fn gemm_f16(&self, args: &GemmF16) -> Run<Vec<f16>>;
    fn gemm_i8(&self, args: &GemmI8) -> Run<Vec<i32>>;
    fn gemm_i8_f32(
        &self,
        args: &GemmI8,
        scales: Scales,
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Run<Vec<f32>>;
    fn gemm_i8_requantize(&self, args: &GemmI8, epilogue: &Requantize) -> Run<Vec<i8>>;
    fn conv_i8(&self, args: &ConvI8) -> Run<Vec<i32>>;
    fn conv_i8_requantize(&self, args: &ConvI8, epilogue: &Requantize) -> Run<Vec<i8>>;
}

/// The scalar specification.
pub struct ReferenceBackend;

impl Requantize<'_> {
    /// The reference's result over accumulators `[rows, columns]`.
    pub fn reference(&self, acc: &[i32], columns: usize) -> Run<reference::Requantized> {
        Ok(reference::requantize(acc, columns, self.scales, self.bias, self.activation, &self.out)?)
    }
}

impl Backend for ReferenceBackend {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn exact(&self) -> bool {
        true
    }

    fn minmax(&self, x: &[f32], axis: Axis) -> Run<Vec<Extrema>> {
        Ok(reference::minmax(x, axis)?)
    }

    fn observe(&self, observer: Observer, batches: &[(&[f32], Axis)]) -> Run<Vec<Vec<Range>>> {
        let mut accumulator = Accumulator::new(observer, batches.first().map_or(0, |b| b.1.channels))?;
        let mut after = Vec::new();
        for &(x, axis) in batches {
            let ranges: Vec<Range> = self.minmax(x, axis)?.iter().map(|e| e.range).collect();
            accumulator.observe(&ranges)?;
            after.push(accumulator.ranges().to_vec());
        }
        Ok(after)
    }

    fn params(&self, ranges: &[Range], scheme: &Scheme) -> Run<Vec<QuantParams>> {
        Ok(ranges.iter().map(|&range| scheme.params(range)).collect::<Result<_, _>>()?)
    }

    fn quantize(&self, x: &[f32], axis: Axis, params: &[QuantParams], division: Division) -> Run<Vec<i8>> {
        Ok(match division {
            Division::Reciprocal => reference::quantize(x, axis, params)?,
            Division::True => reference::quantize_divide(x, axis, params)?,
        })
    }

    fn dequantize(&self, q: &[i8], axis: Axis, params: &[QuantParams]) -> Run<Vec<f32>> {
        Ok(reference::dequantize(q, axis, params)?)
    }

    fn narrow(&self, x: &[f32]) -> Run<Vec<f16>> {
        Ok(reference::to_f16(x))
    }

    fn widen(&self, x: &[f16]) -> Run<Vec<f32>> {
        Ok(reference::from_f16(x))
    }

    fn gemm_f16(&self, args: &GemmF16) -> Run<Vec<f16>> {
        let (a, b) = (reference::from_f16(args.a), reference::from_f16(args.b));
        let args = Gemm {
            batch: 1,
            m: args.m,
            n: args.n,
            k: args.k,
            a: &a,
            b: &b,
            layout: args.layout,
            bias: None,
            activation: Activation::Identity,
        };
        Ok(reference::gemm(&args)?.into_iter().map(f16::from_f64).collect())
    }

    fn gemm_i8(&self, args: &GemmI8) -> Run<Vec<i32>> {
        Ok(reference::gemm_i8(args)?)
    }

    fn gemm_i8_f32(
        &self,
        args: &GemmI8,
        scales: Scales,
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Run<Vec<f32>> {
        Ok(reference::scale_accumulators(&self.gemm_i8(args)?, args.n, scales, bias, activation)?)
    }

    fn gemm_i8_requantize(&self, args: &GemmI8, epilogue: &Requantize) -> Run<Vec<i8>> {
        Ok(epilogue.reference(&self.gemm_i8(args)?, args.n)?.q)
    }

    fn conv_i8(&self, args: &ConvI8) -> Run<Vec<i32>> {
        Ok(reference::conv2d_i8(args)?)
    }

    fn conv_i8_requantize(&self, args: &ConvI8, epilogue: &Requantize) -> Run<Vec<i8>> {
        Ok(epilogue.reference(&self.conv_i8(args)?, args.shape.outputs)?.q)
    }
}
