//! The kernels, on whatever adapter there is.

use crate::backend::{Backend, Division, GemmF16, Requantize};
use crate::harness::{Run, Stop};
use half::f16;
use weighbridge::Gpu;
use weighbridge::graph::Activation;
use weighbridge::ops::{
    Blocking, Call, Channels, Conv, ConvBindings, ConvDescriptor, ConvOperands, Dequantize, EpilogueBindings,
    Gemm, GemmBindings, GemmDescriptor, GemmI8Bindings, GemmI8Descriptor, Layout, MinMax, MinMaxBindings,
    MinMaxDescriptor, Quantize, QuantizeBindings, QuantizeDescriptor, RangeState, ScaleZeroPoint,
    ScaleZeroPointBindings, Unary, UnaryBindings, UnaryDescriptor, Update,
};
use weighbridge::quant::{Observer, QuantParams, Range, Scheme};
use weighbridge::reference::{Axis, BLayout, Bias, ConvI8, Extrema, GemmI8, Scales};
use weighbridge::tensor::{Data, Element, Tensor, View};

/// One shape of block for all sizes: the tests of each op go through the others, and this one compiles quickly.
const BLOCKING: Option<Blocking> = Some(Blocking::Direct { lanes: 8, rows: 8, quads: 1 });

pub struct GpuBackend(pub &'static Gpu);

/// How integer sums leave a product.
struct Finish<'a> {
    scales: Scales<'a>,
    bias: Bias<'a>,
    activation: Activation,
    out: Element,
    out_params: Option<QuantParams>,
}

impl Finish<'_> {
    const SUMS: Finish<'static> = Finish {
        scales: Scales { a: &[1.0], b: &[1.0] },
        bias: Bias::None,
        activation: Activation::Identity,
        out: Element::I32,
        out_params: None,
    };

    fn requantize<'a>(r: &Requantize<'a>) -> Finish<'a> {
        Finish {
            scales: Scales { a: r.scales.a, b: r.scales.b },
            bias: r.bias,
            activation: r.activation,
            out: Element::I8,
            out_params: Some(r.out),
        }
    }
}

/// The buffers behind [`EpilogueBindings`].
struct Epilogue {
    a: (wgpu::Buffer, usize),
    b: (wgpu::Buffer, usize),
    sums: wgpu::Buffer,
    bias: Option<(wgpu::Buffer, Element)>,
    out: Option<wgpu::Buffer>,
    columns: usize,
}

impl Epilogue {
    fn bindings(&self) -> EpilogueBindings<'_> {
        EpilogueBindings {
            a_params: View::params(&self.a.0, self.a.1),
            b_params: View::params(&self.b.0, self.b.1),
            b_sums: View::new(&self.sums, Element::I32, 1, self.columns),
            bias: self.bias.as_ref().map(|(buffer, element)| View::new(buffer, *element, 1, self.columns)),
            out_params: self.out.as_ref().map(|buffer| View::params(buffer, 1)),
        }
    }
}

impl GpuBackend {
    fn words<T: bytemuck::Pod>(&self, values: &[T]) -> Run<wgpu::Buffer> {
        Ok(self.0.upload_words(bytemuck::cast_slice(values))?)
    }

    fn read(&self, call: &Call, view: &View<'_>) -> Run<Tensor> {
        self.0.submit(|pass| call.record(pass));
        Ok(pollster::block_on(self.0.read(view, &[view.rows, view.columns]))?)
    }

    /// Room for a dense matrix.
    fn room(&self, element: Element, rows: usize, columns: usize) -> Run<wgpu::Buffer> {
        Ok(self.0.buffer((rows * element.words(columns)) as u64 * 4)?)
    }

    /// Parameters from scales and zero points, each one or several.
    fn quant_params(&self, scales: &[f32], zeros: &[i32]) -> Run<(wgpu::Buffer, usize)> {
        let count = scales.len().max(zeros.len());
        let all = (0..count)
            .map(|i| QuantParams::new(scales[i % scales.len()], zeros[i % zeros.len()], -128, 127))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((self.words(&all)?, count))
    }

    fn epilogue(&self, f: &Finish<'_>, a_zero: &[i32], b_zero: &[i32], sums: &[i32]) -> Run<Epilogue> {
        Ok(Epilogue {
            a: self.quant_params(f.scales.a, a_zero)?,
            b: self.quant_params(f.scales.b, b_zero)?,
            sums: self.words(sums)?,
            bias: match f.bias {
                Bias::None => None,
                Bias::F32(bias) => Some((self.words(bias)?, Element::F32)),
                Bias::I32(bias) => Some((self.words(bias)?, Element::I32)),
            },
            out: f.out_params.map(|p| self.words(&[p])).transpose()?,
            columns: sums.len(),
        })
    }

    /// An integer product `[batch * m, n]`.
    fn product(&self, args: &GemmI8, f: &Finish<'_>) -> Run<Tensor> {
        let GemmI8 { batch, m, n, k, .. } = *args;
        let layout = match args.layout {
            BLayout::Nk => Layout::Nk,
            BLayout::Kn => Layout::Kn,
        };
        let b_shape = if layout == Layout::Nk { [n, k] } else { [k, n] };
        let column = |j: usize| {
            let at = |i: usize| if layout == Layout::Nk { j * k + i } else { i * n + j };
            (0..k).map(|i| i32::from(args.b[at(i)])).sum()
        };
        let sums: Vec<i32> = (0..n).map(column).collect();
        // One zero point for each row of one matrix serves all.
        let a_zero = match args.a_zero_point {
            zeros if zeros.len() == m && m > 1 => zeros.repeat(batch),
            zeros => zeros.to_vec(),
        };
        let epilogue = self.epilogue(f, &a_zero, args.b_zero_point, &sums)?;
        let a = self.0.upload(&Tensor::new([batch * m, k], Data::I8(args.a.to_vec()))?)?;
        let b = self.0.upload(&Tensor::new(b_shape, Data::I8(args.b.to_vec()))?)?;
        let out = self.room(f.out, batch * m, n)?;
        let out = View::new(&out, f.out, batch * m, n);
        let descriptor = GemmI8Descriptor {
            out: f.out,
            layout,
            b_zero_point: args.b_zero_point.iter().any(|&z| z != 0),
            activation: f.activation,
            operand: None,
            blocking: BLOCKING,
        };
        let op = weighbridge::ops::GemmI8::with_kernels(self.0.kernels(), &descriptor)?;
        let call = op.bind(&GemmI8Bindings {
            a: View::new(&a, Element::I8, batch * m, k),
            b: View::new(&b, Element::I8, b_shape[0], b_shape[1]),
            epilogue: epilogue.bindings(),
            out,
            batch,
        })?;
        self.read(&call, &out)
    }

    /// As [`GpuBackend::product`], one matrix at a time where the op has one `b` for all and the case several.
    fn products(&self, args: &GemmI8, f: &Finish<'_>) -> Run<Vec<Tensor>> {
        let GemmI8 { batch, m, n, k, .. } = *args;
        let zeros_apart = args.b_zero_point.len() != 1 && args.b_zero_point.len() != n;
        if batch <= 1 || (args.b.len() == n * k && !zeros_apart) {
            return Ok(vec![self.product(args, f)?]);
        }
        /// The part of one batch, where there is one for each.
        fn part<T>(values: &[T], batch: usize, i: usize, len: usize) -> &[T] {
            if values.len() == batch * len { &values[i * len..(i + 1) * len] } else { values }
        }
        let one = |i: usize| {
            let args = GemmI8 {
                batch: 1,
                a: part(args.a, batch, i, m * k),
                b: part(args.b, batch, i, n * k),
                a_zero_point: part(args.a_zero_point, batch, i, m),
                b_zero_point: part(args.b_zero_point, batch, i, n),
                ..*args
            };
            let scales = Scales { a: part(f.scales.a, batch, i, m), b: f.scales.b };
            self.product(&args, &Finish { scales, ..*f })
        };
        (0..batch).map(one).collect()
    }

    /// An integer convolution, channels last.
    fn convolution(&self, args: &ConvI8, f: &Finish<'_>) -> Run<Tensor> {
        let s = &args.shape;
        let [batch, height, width, outputs] = s.output()?;
        let [kh, kw] = s.window.kernel;
        let descriptor = ConvDescriptor {
            element: Element::I8,
            out: f.out,
            window: s.window,
            groups: s.groups,
            activation: f.activation,
            max_pool: false,
            b_zero_point: args.weight_zero_point.iter().any(|&z| z != 0),
            operand: None,
            blocking: BLOCKING,
        };
        let shape = [outputs, kh, kw, s.channels / s.groups];
        let packed = descriptor.pack(&Tensor::new(shape, Data::I8(args.weight.to_vec()))?)?;
        let epilogue = self.epilogue(f, &[args.x_zero_point], args.weight_zero_point, &packed.sums)?;
        let pixels = batch * s.image[0] * s.image[1];
        let x = self.0.upload(&Tensor::new([pixels, s.channels], Data::I8(args.x.to_vec()))?)?;
        let weights = self.words(&packed.words)?;
        let rows = batch * height * width;
        let out = self.room(f.out, rows, outputs)?;
        let out = View::new(&out, f.out, rows, outputs);
        let call = Conv::with_kernels(self.0.kernels(), &descriptor)?.bind(&ConvBindings {
            x: View::new(&x, Element::I8, pixels, s.channels),
            batch,
            size: s.image,
            weights: View::new(&weights, Element::I32, packed.words.len() / packed.pitch, packed.pitch),
            operands: ConvOperands::Int8(epilogue.bindings()),
            out,
        })?;
        self.read(&call, &out)
    }

    /// Ranges of `x` put into `state`, one for each channel.
    fn range(&self, x: &[f32], axis: Axis, update: Update, state: &wgpu::Buffer) -> Run<()> {
        // Innermost channels are columns; others are rows, or runs of them.
        let (channels, rows, columns) = match axis {
            Axis { channels: 1, .. } => (Channels::Tensor, 1, x.len()),
            Axis { inner: 1, .. } => (Channels::Columns, axis.outer, axis.channels),
            _ => (Channels::Rows, axis.outer * axis.channels, axis.inner),
        };
        let buffer = self.words(x)?;
        let descriptor = MinMaxDescriptor { element: Element::F32, channels, update };
        let call = MinMax::with_kernels(self.0.kernels(), &descriptor)?.bind(&MinMaxBindings {
            x: View::new(&buffer, Element::F32, rows, columns),
            outer: axis.outer,
            state: View::params(state, axis.channels),
        })?;
        self.0.submit(|pass| call.record(pass));
        Ok(())
    }

    fn states(&self, state: &wgpu::Buffer, channels: usize) -> Run<Vec<RangeState>> {
        let words = pollster::block_on(self.0.read_words(state, 0, channels * 4))?;
        Ok(bytemuck::cast_slice(&words).to_vec())
    }

    /// `x` as the matrix whose rows, columns or all have their own parameters, with those.
    fn matrix(x: usize, axis: Axis, params: &[QuantParams]) -> (usize, usize, Vec<QuantParams>) {
        match axis {
            _ if params.len() == 1 => (1, x, params.to_vec()),
            Axis { inner: 1, .. } if axis.outer > 1 => (axis.outer, axis.channels, params.to_vec()),
            _ => (axis.outer * axis.channels, axis.inner, params.repeat(axis.outer)),
        }
    }

    /// Elementwise, with parameters.
    fn elementwise(&self, x: Data, axis: Axis, params: &[QuantParams], to: Element) -> Run<Tensor> {
        let (rows, columns, params) = Self::matrix(x.len(), axis, params);
        let x = Tensor::new([rows, columns], x)?;
        let by_row = params.len() == rows;
        let (buffer, count) = (self.words(&params)?, params.len());
        let (from, out) = (self.0.upload(&x)?, self.room(to, rows, columns)?);
        let bindings = QuantizeBindings {
            x: View::new(&from, x.element(), rows, columns),
            params: View::params(&buffer, count),
            out: View::new(&out, to, rows, columns),
        };
        let descriptor = QuantizeDescriptor { element: Element::F32, by_row };
        let call = match to {
            Element::I8 => Quantize::with_kernels(self.0.kernels(), &descriptor)?.bind(&bindings)?,
            _ => Dequantize::with_kernels(self.0.kernels(), &descriptor)?.bind(&bindings)?,
        };
        self.read(&call, &bindings.out)
    }

    fn cast(&self, x: Data, to: Element) -> Run<Tensor> {
        let len = x.len();
        let x = Tensor::new([1, len], x)?;
        let (from, out) = (self.0.upload(&x)?, self.room(to, 1, len)?);
        let out = View::new(&out, to, 1, len);
        let descriptor = UnaryDescriptor { element: x.element(), out: to, ..Default::default() };
        let call = Unary::with_kernels(self.0.kernels(), &descriptor)?.bind(&UnaryBindings {
            x: View::new(&from, x.element(), 1, len),
            params: None,
            out,
        })?;
        self.read(&call, &out)
    }
}

/// The elements of a tensor whose type is known.
macro_rules! elements {
    ($tensors:expr, $kind:path) => {{
        let mut all = Vec::new();
        for tensor in $tensors {
            match tensor.data() {
                $kind(values) => all.extend_from_slice(values),
                other => {
                    return Err(Stop::Failed(format!("read back {} elements of another type", other.len())));
                }
            }
        }
        Ok(all)
    }};
}

impl Backend for GpuBackend {
    fn name(&self) -> &'static str {
        "GPU"
    }

    fn exact(&self) -> bool {
        false
    }

    fn minmax(&self, x: &[f32], axis: Axis) -> Run<Vec<Extrema>> {
        let state = self.room(Element::I32, axis.channels, 4)?;
        self.range(x, axis, Update::Replace, &state)?;
        let found = self.states(&state, axis.channels)?;
        Ok(found.iter().map(|s| Extrema { range: s.range(), flags: s.flags }).collect())
    }

    fn observe(&self, observer: Observer, batches: &[(&[f32], Axis)]) -> Run<Vec<Vec<Range>>> {
        let channels = batches.first().map_or(0, |b| b.1.channels);
        // Fresh buffers are zeros, which is a state that has seen nothing.
        let state = self.room(Element::I32, channels, 4)?;
        let mut after = Vec::new();
        for &(x, axis) in batches {
            self.range(x, axis, Update::Accumulate(observer), &state)?;
            after.push(self.states(&state, channels)?.iter().map(RangeState::range).collect());
        }
        Ok(after)
    }

    fn params(&self, ranges: &[Range], scheme: &Scheme) -> Run<Vec<QuantParams>> {
        let of = |r: &Range| match r.is_empty() {
            true => RangeState::default(),
            false => RangeState { min: r.min, max: r.max, flags: 0, batches: 1 },
        };
        let state = self.words(&ranges.iter().map(of).collect::<Vec<_>>())?;
        let params = self.room(Element::I32, ranges.len(), 4)?;
        let bindings = ScaleZeroPointBindings {
            state: View::params(&state, ranges.len()),
            params: View::params(&params, ranges.len()),
        };
        let call = ScaleZeroPoint::with_kernels(self.0.kernels(), scheme)?.bind(&bindings)?;
        self.0.submit(|pass| call.record(pass));
        let words = pollster::block_on(self.0.read_words(&params, 0, ranges.len() * 4))?;
        Ok(bytemuck::cast_slice(&words).to_vec())
    }

    // The kernel multiplies by the reciprocal, whatever the system divides by.
    fn quantize(&self, x: &[f32], axis: Axis, params: &[QuantParams], _: Division) -> Run<Vec<i8>> {
        elements!([self.elementwise(Data::F32(x.to_vec()), axis, params, Element::I8)?], Data::I8)
    }

    fn dequantize(&self, q: &[i8], axis: Axis, params: &[QuantParams]) -> Run<Vec<f32>> {
        elements!([self.elementwise(Data::I8(q.to_vec()), axis, params, Element::F32)?], Data::F32)
    }

    fn narrow(&self, x: &[f32]) -> Run<Vec<f16>> {
        elements!([self.cast(Data::F32(x.to_vec()), Element::F16)?], Data::F16)
    }

    fn widen(&self, x: &[f16]) -> Run<Vec<f32>> {
        elements!([self.cast(Data::F16(x.to_vec()), Element::F32)?], Data::F32)
    }

    fn gemm_f16(&self, args: &GemmF16) -> Run<Vec<f16>> {
        let (m, n, k) = (args.m, args.n, args.k);
        let (layout, [b_rows, b_columns]) = match args.layout {
            BLayout::Nk => (Layout::Nk, [n, k]),
            BLayout::Kn => (Layout::Kn, [k, n]),
        };
        let a = self.0.upload(&Tensor::new([m, k], Data::F16(args.a.to_vec()))?)?;
        let b = self.0.upload(&Tensor::new([b_rows, b_columns], Data::F16(args.b.to_vec()))?)?;
        let out = self.room(Element::F16, m, n)?;
        let out = View::new(&out, Element::F16, m, n);
        let descriptor = GemmDescriptor {
            element: Element::F16,
            out: Element::F16,
            layout,
            blocking: BLOCKING,
            ..Default::default()
        };
        let call = Gemm::with_kernels(self.0.kernels(), &descriptor)?.bind(&GemmBindings {
            out_params: None,
            a: View::new(&a, Element::F16, m, k),
            b: View::new(&b, Element::F16, b_rows, b_columns),
            bias: None,
            out,
            batch: 1,
        })?;
        elements!([self.read(&call, &out)?], Data::F16)
    }

    fn gemm_i8(&self, args: &GemmI8) -> Run<Vec<i32>> {
        elements!(self.products(args, &Finish::SUMS)?, Data::I32)
    }

    fn gemm_i8_f32(
        &self,
        args: &GemmI8,
        scales: Scales,
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Run<Vec<f32>> {
        let bias = bias.map_or(Bias::None, Bias::F32);
        let finish = Finish { scales, bias, activation, out: Element::F32, out_params: None };
        elements!(self.products(args, &finish)?, Data::F32)
    }

    fn gemm_i8_requantize(&self, args: &GemmI8, epilogue: &Requantize) -> Run<Vec<i8>> {
        elements!(self.products(args, &Finish::requantize(epilogue))?, Data::I8)
    }

    fn conv_i8(&self, args: &ConvI8) -> Run<Vec<i32>> {
        elements!([self.convolution(args, &Finish::SUMS)?], Data::I32)
    }

    fn conv_i8_requantize(&self, args: &ConvI8, epilogue: &Requantize) -> Run<Vec<i8>> {
        elements!([self.convolution(args, &Finish::requantize(epilogue))?], Data::I8)
    }
}
