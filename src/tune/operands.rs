//! Operands for a problem, made so that every right kernel computes the same bits, and what some of these are.
//!
//! Floats are whole multiples of a power of two, small enough that every partial sum, in whatever order, is exact in f32
//! and takes most of its 24 bits: a kernel that sums in less, leaves a product out or reads the wrong element differs.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::graph::Activation;
use crate::kernel::{Call, Choice, Layout, Patch, Problem};
use crate::ops::{
    Conv, ConvBindings, ConvDescriptor, ConvOperands, EpilogueBindings, Gemm, GemmBindings, GemmDescriptor,
    GemmI8, GemmI8Bindings, GemmI8Descriptor, GemmWeightOnly, GemmWeightOnlyBindings,
    GemmWeightOnlyDescriptor, Packed, PackedWeightOnly,
};
use crate::quant::QuantParams;
use crate::reference::{self, BLayout};
use crate::tensor::{Data, Element, Tensor, View};
use half::f16;

const OP: &str = "tune";

/// A buffer and how a matrix lies in it.
struct Matrix {
    buffer: wgpu::Buffer,
    element: Element,
    rows: usize,
    columns: usize,
    pitch: usize,
}

impl Matrix {
    fn view(&self) -> View<'_> {
        View::new(&self.buffer, self.element, self.rows, self.columns).with_pitch(self.pitch)
    }
}

/// The operands of one problem on the device, and samples of its result.
pub(super) struct Operands<'g> {
    gpu: &'g Gpu,
    problem: Problem,
    a: Matrix,
    b: Matrix,
    /// Sums of int8 columns, or the scales of weights alone.
    beside_b: Option<Matrix>,
    /// Parameters of `a` and of `b`.
    params: [wgpu::Buffer; 2],
    out: Matrix,
    /// Index and bits of some elements of the result.
    pub samples: Vec<(usize, u32)>,
}

/// Whole numbers that the operands are made of, and what one is worth.
struct Whole {
    values: Vec<i16>,
    /// Of `values[i]`, by the number of its row.
    unit: fn(usize, f32) -> f32,
    scale: f32,
}

/// A small generator, the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    /// Uniform in `lo..=hi`.
    fn whole(&mut self, count: usize, lo: i16, hi: i16) -> Vec<i16> {
        let span = (i32::from(hi) - i32::from(lo) + 1) as usize;
        (0..count).map(|_| lo + self.next(span) as i16).collect()
    }
}

impl Whole {
    fn f32s(&self, row: usize) -> Vec<f32> {
        let each = |(i, &v): (usize, &i16)| f32::from(v) * (self.unit)(i / row.max(1), self.scale);
        self.values.iter().enumerate().map(each).collect()
    }

    fn i8s(&self) -> Vec<i8> {
        self.values.iter().map(|&v| v as i8).collect()
    }

    /// As a tensor of that element, of rows of `row`.
    fn tensor(&self, element: Element, shape: &[usize]) -> Result<Tensor> {
        let row = shape.last().copied().unwrap_or(1);
        let data = match element {
            Element::I8 => Data::I8(self.i8s()),
            Element::F16 => Data::F16(self.f32s(row).into_iter().map(f16::from_f32).collect()),
            _ => Data::F32(self.f32s(row)),
        };
        Tensor::new(shape, data)
    }
}

/// Binary digits of a whole number.
fn bits(k: usize) -> u32 {
    usize::BITS - k.saturating_sub(1).leading_zeros()
}

fn matrix(gpu: &Gpu, tensor: &Tensor, gap: usize) -> Result<Matrix> {
    let columns = tensor.shape().last().copied().unwrap_or(1);
    let (element, rows) = (tensor.element(), tensor.len() / columns.max(1));
    let words = tensor.to_device_words()?;
    let row = element.words(columns).max(1);
    let pitch = row + gap;
    let spread = |r: &[u32]| [r, &vec![0; gap]].concat();
    let words = if gap == 0 { words } else { words.chunks(row).flat_map(spread).collect() };
    Ok(Matrix { buffer: gpu.upload_words(&words)?, element, rows, columns, pitch })
}

fn words(gpu: &Gpu, words: &[u32], element: Element, rows: usize, columns: usize) -> Result<Matrix> {
    Ok(Matrix { buffer: gpu.upload_words(words)?, element, rows, columns, pitch: columns })
}

/// The zero point of an int8 image, where sums have room for it: what lies outside of the image is that.
fn zero_point(p: &Problem) -> i32 {
    if p.patch.is_some() && p.k <= 1 << 16 { 3 } else { 0 }
}

/// The elements along k of one row of a convolution's `a`; `outside` for what is not in the image.
fn gathered<T: Copy>(
    x: &[T],
    patch: &Patch,
    in_group: usize,
    group: usize,
    row: usize,
    outside: T,
) -> Vec<T> {
    let (w, [height, width]) = (&patch.window, patch.size);
    // It was found to fit when the problem was checked.
    let [oh, ow] = w.out_size(patch.size).unwrap_or([1, 1]);
    let (image, y, x_at) = (row / (oh * ow), row / ow % oh, row % ow);
    let along = |out: usize, tap: usize, axis: usize, len: usize| {
        let at = (out * w.stride[axis] + tap * w.dilation[axis]).checked_sub(w.pad_begin[axis]);
        at.filter(|&i| i < len)
    };
    let mut all = Vec::with_capacity(w.kernel[0] * w.kernel[1] * in_group);
    for (i, j) in (0..w.kernel[0]).flat_map(|i| (0..w.kernel[1]).map(move |j| (i, j))) {
        match (along(y, i, 0, height), along(x_at, j, 1, width)) {
            (Some(r), Some(c)) => {
                let from = ((image * height + r) * width + c) * patch.channels + group * in_group;
                all.extend_from_slice(&x[from..from + in_group]);
            }
            _ => all.resize(all.len() + in_group, outside),
        }
    }
    all
}

/// Up to eight different numbers below `count`: the first, the last, and some between.
fn some(rng: &mut Rng, count: usize) -> Vec<usize> {
    let mut all = vec![0, count - 1];
    all.extend((0..6).map(|_| rng.next(count)));
    all.sort_unstable();
    all.dedup();
    all
}

/// Index and bits of some elements of the result, from the specification.
fn samples(
    p: &Problem,
    per_group: usize,
    [a, b]: [&Whole; 2],
    [a_row, out_columns]: [usize; 2],
    rng: &mut Rng,
) -> Result<Vec<(usize, u32)>> {
    let mut samples = Vec::new();
    for batch in if p.batch > 1 { vec![0, p.batch - 1] } else { vec![0] } {
        let (rows, columns) = (some(rng, p.m), some(rng, p.n));
        let sub_b: Vec<usize> = columns.iter().map(|c| batch * p.n + c).collect();
        let results = match p.element {
            Element::I8 => {
                let zero = zero_point(p);
                let (a, b) = (a.i8s(), b.i8s());
                let a = a_rows(p, &a, per_group, batch, &rows, zero as i8);
                let b = picked(&b, p.k, &sub_b);
                let sums = reference::gemm_i8(&reference::GemmI8 {
                    batch: 1,
                    m: rows.len(),
                    n: columns.len(),
                    k: p.k,
                    a: &a,
                    b: &b,
                    layout: BLayout::Nk,
                    a_zero_point: &[zero],
                    b_zero_point: &[0],
                })?;
                sums.into_iter().map(|s| s as u32).collect::<Vec<_>>()
            }
            _ => {
                let (a, b) = (a.f32s(a_row), b.f32s(p.k));
                let a = a_rows(p, &a, per_group, batch, &rows, 0.0);
                let b = picked(&b, p.k, &sub_b);
                let sums = reference::gemm(&reference::Gemm {
                    batch: 1,
                    m: rows.len(),
                    n: columns.len(),
                    k: p.k,
                    a: &a,
                    b: &b,
                    layout: BLayout::Nk,
                    bias: None,
                    activation: Activation::Identity,
                })?;
                sums.into_iter().map(|s| (s as f32).to_bits()).collect()
            }
        };
        let places = rows.iter().flat_map(|&r| columns.iter().map(move |&c| (r, c)));
        for ((row, column), bits) in places.zip(results) {
            let index = match p.patch {
                Some(_) => row * out_columns + batch * p.n + column,
                None => (batch * p.m + row) * out_columns + column,
            };
            samples.push((index, bits));
        }
    }
    Ok(samples)
}

impl<'g> Operands<'g> {
    /// Operands for a problem.
    pub fn new(gpu: &'g Gpu, p: &Problem) -> Result<Self> {
        let fail = |detail: String| Err(Error::Argument { op: OP, detail });
        if [p.m, p.n, p.k, p.batch].contains(&0) {
            return fail(format!("{p:?} is empty: there is nothing to measure"));
        }
        if p.weight_only && (p.patch.is_some() || p.batch != 1 || p.layout != Layout::Packed) {
            return fail(format!("{p:?}: weights alone in int8 are packed, of one matrix"));
        }
        let mut rng = Rng(p.k as u64 * 31 + p.n as u64);
        // Bits of |a| and |b| together, so that k products fit f32's 24, with one to spare for units that drop the last.
        let room = 23u32.saturating_sub(bits(p.k));
        let per_group = match &p.patch {
            Some(patch) => {
                let [oh, ow] = patch.window.out_size(patch.size)?;
                let taps = patch.window.kernel[0] * patch.window.kernel[1];
                let in_group = p.k / taps;
                if !p.m.is_multiple_of(oh * ow)
                    || in_group * taps != p.k
                    || patch.channels != in_group * p.batch
                {
                    return fail(format!(
                        "{p:?}: m is images of {oh} x {ow}, k {taps} taps of channels, of {} groups",
                        p.batch
                    ));
                }
                in_group
            }
            None => p.k,
        };
        let a_shape = match &p.patch {
            Some(patch) => {
                let [oh, ow] = patch.window.out_size(patch.size)?;
                [p.m / (oh * ow) * patch.size[0] * patch.size[1], patch.channels]
            }
            None => [p.batch * p.m, p.k],
        };
        let (a_count, b_count) = (a_shape[0] * a_shape[1], p.batch * p.n * p.k);
        let plain: fn(usize, f32) -> f32 = |_, scale| scale;
        // Scales that differ tell columns apart.
        let by_column: fn(usize, f32) -> f32 = |row, scale| scale / (1 << (row % 3)) as f32;
        let (mut a, mut b) = if p.element == Element::I8 {
            let make =
                |rng: &mut Rng, count| Whole { values: rng.whole(count, -128, 127), unit: plain, scale: 1.0 };
            (make(&mut rng, a_count), make(&mut rng, b_count))
        } else {
            let (a_bits, b_bits) = match p.weight_only {
                true => (room.saturating_sub(7).min(10), room.min(7)),
                false => ((room / 2).min(10), (room / 2).min(10)),
            };
            let unit = |bits: u32| 1.0 / (1u32 << bits) as f32;
            let (a_most, b_most) = (1i16 << a_bits, 1i16 << b_bits);
            let a = rng.whole(a_count, -a_most, a_most);
            let b = rng.whole(b_count, -b_most, if p.weight_only { b_most - 1 } else { b_most });
            let b_unit = if p.weight_only { by_column } else { plain };
            (
                Whole { values: a, unit: plain, scale: unit(a_bits) },
                Whole { values: b, unit: b_unit, scale: unit(b_bits) },
            )
        };
        // The largest sums that there can be, in a corner.
        let (least_a, least_b) =
            (a.values.iter().copied().min().unwrap_or(0), b.values.iter().copied().min().unwrap_or(0));
        if p.m > 1 {
            a.values[..p.k.min(a_count)].fill(least_a);
        }
        if p.n > 1 {
            b.values[..p.k].fill(least_b);
        }

        let a_tensor = a.tensor(p.element, &a_shape)?;
        let b_element = if p.weight_only { Element::I8 } else { p.element };
        // Rows that are not whole chunks though they could be lie apart.
        let whole = p.element.words(a_shape[1]).is_multiple_of(4)
            && per_group.is_multiple_of(4 * p.element.per_word());
        let a_matrix = matrix(gpu, &a_tensor, usize::from(whole && !p.aligned))?;
        let (b_matrix, beside_b) = if p.weight_only {
            let weights = b.tensor(b_element, &[p.n, p.k])?;
            let scales: Vec<f32> = (0..p.n).map(|row| (b.unit)(row, b.scale)).collect();
            let params =
                scales.iter().map(|&s| QuantParams::new(s, 0, -128, 127)).collect::<Result<Vec<_>>>()?;
            let packed = PackedWeightOnly::new(&weights, &params, None, p.element)?;
            let columns = p.n.next_multiple_of(4);
            let scales: Vec<u32> = packed.scales.iter().map(|s| s.to_bits()).collect();
            (
                words(gpu, &packed.words, Element::I32, packed.rows, packed.pitch)?,
                Some(words(gpu, &scales, Element::F32, scales.len() / columns, columns)?),
            )
        } else {
            let shape = match &p.patch {
                Some(patch) => {
                    let [kh, kw] = patch.window.kernel;
                    vec![p.batch * p.n, kh, kw, per_group]
                }
                None => vec![p.batch * p.n, p.k],
            };
            let weights = b.tensor(b_element, &shape)?;
            let packed = match &p.patch {
                Some(patch) => Some(conv(p, patch).pack(&weights)?),
                None if p.layout == Layout::Packed || p.element == Element::I8 => {
                    Some(Packed::new(&weights, p.batch)?)
                }
                None => None,
            };
            let matrix = match (p.layout, &packed) {
                (Layout::Packed, Some(packed)) => words(
                    gpu,
                    &packed.words,
                    Element::I32,
                    packed.words.len() / packed.pitch.max(1),
                    packed.pitch,
                )?,
                (Layout::Kn, _) => {
                    let turned = weights.reshape([p.batch, p.n, p.k])?.permuted(&[0, 2, 1])?;
                    matrix(gpu, &turned.reshape([p.batch * p.k, p.n])?, 0)?
                }
                _ => matrix(gpu, &weights, 0)?,
            };
            let columns = if p.patch.is_some() { p.batch * p.n } else { p.n };
            let sums = packed.filter(|_| p.element == Element::I8).map(|packed| {
                let sums: Vec<u32> = packed.sums[..columns].iter().map(|&s| s as u32).collect();
                words(gpu, &sums, Element::I32, 1, columns)
            });
            (matrix, sums.transpose()?)
        };
        let params = |zero_point| -> Result<wgpu::Buffer> {
            gpu.upload_words(bytemuck::cast_slice(&[QuantParams::new(1.0, zero_point, -128, 127)?]))
        };
        let (out_rows, out_columns) =
            if p.patch.is_some() { (p.m, p.batch * p.n) } else { (p.batch * p.m, p.n) };
        let out = Matrix {
            buffer: gpu.buffer(out_rows as u64 * out_columns as u64 * 4)?,
            element: if p.element == Element::I8 { Element::I32 } else { Element::F32 },
            rows: out_rows,
            columns: out_columns,
            pitch: out_columns,
        };
        let params = [params(zero_point(p))?, params(0)?];

        let samples = samples(p, per_group, [&a, &b], [a_shape[1], out_columns], &mut rng)?;
        Ok(Self { gpu, problem: *p, a: a_matrix, b: b_matrix, beside_b, params, out, samples })
    }

    /// The call of a variant.
    pub fn call(&self, choice: Choice) -> Result<Call> {
        let p = &self.problem;
        let kernels = &self.gpu.kernels().with_choice(p, choice)?;
        let (a, b, out) = (self.a.view(), self.b.view(), self.out.view());
        let beside_b = self.beside_b.as_ref().map_or(b, Matrix::view);
        let epilogue = EpilogueBindings {
            a_params: View::params(&self.params[0], 1),
            b_params: View::params(&self.params[1], 1),
            b_sums: beside_b,
            bias: None,
            out_params: None,
        };
        let call = match (&p.patch, p.element) {
            (Some(patch), element) => {
                let [oh, ow] = patch.window.out_size(patch.size)?;
                let operands = match element {
                    Element::I8 => ConvOperands::Int8(epilogue),
                    _ => ConvOperands::Float { bias: None, out_params: None },
                };
                Conv::with_kernels(kernels, &conv(p, patch))?.bind(&ConvBindings {
                    x: a,
                    batch: p.m / (oh * ow),
                    size: patch.size,
                    weights: b,
                    operands,
                    out,
                })?
            }
            (None, Element::I8) => {
                let d = GemmI8Descriptor { out: Element::I32, layout: p.layout, ..Default::default() };
                GemmI8::with_kernels(kernels, &d)?.bind(&GemmI8Bindings {
                    a,
                    b,
                    epilogue,
                    out,
                    batch: p.batch,
                })?
            }
            (None, element) if p.weight_only => {
                let d = GemmWeightOnlyDescriptor { element, ..Default::default() };
                GemmWeightOnly::with_kernels(kernels, &d)?.bind(&GemmWeightOnlyBindings {
                    out_params: None,
                    a,
                    b,
                    scales: beside_b,
                    bias: None,
                    out,
                })?
            }
            (None, element) => {
                let d = GemmDescriptor { element, layout: p.layout, ..Default::default() };
                Gemm::with_kernels(kernels, &d)?.bind(&GemmBindings {
                    out_params: None,
                    a,
                    b,
                    bias: None,
                    out,
                    batch: p.batch,
                })?
            }
        };
        let chosen = call.chosen().next().copied();
        match chosen {
            None => Err(Error::Argument {
                op: OP,
                detail: format!("{p:?}: channel groups so small have one kernel: there is nothing to choose"),
            }),
            Some(chosen) if chosen.problem != *p => Err(Error::Argument {
                op: OP,
                detail: format!("{p:?} contradicts itself: its operands make {:?}", chosen.problem),
            }),
            Some(chosen) if chosen.choice != choice => Err(Error::Argument {
                op: OP,
                detail: format!("{p:?} is bound as {:?}, not as {choice:?}", chosen.choice),
            }),
            Some(_) => Ok(call),
        }
    }

    /// Runs a call over an output in which there is nothing of another's, and returns what it wrote.
    pub fn run(&self, call: &Call) -> Result<Vec<u32>> {
        let count = self.out.rows * self.out.columns;
        self.gpu.write(&self.out.buffer, &Tensor::f32([count], vec![f32::NAN; count])?)?;
        let parts = self.gpu.run(|pass| call.record(pass), &[(&self.out.buffer, count as u64 * 4)])?;
        Ok(parts.into_iter().flatten().collect())
    }
}

fn conv(p: &Problem, patch: &Patch) -> ConvDescriptor {
    ConvDescriptor {
        element: p.element,
        out: if p.element == Element::I8 { Element::I32 } else { Element::F32 },
        window: patch.window,
        groups: p.batch,
        activation: Activation::Identity,
        max_pool: false,
        b_zero_point: false,
        operand: None,
        blocking: None,
    }
}

/// Some rows of a matrix.
fn picked<T: Copy>(all: &[T], row: usize, which: &[usize]) -> Vec<T> {
    which.iter().flat_map(|r| &all[r * row..(r + 1) * row]).copied().collect()
}

/// Some rows of `a`, of one batch (of a convolution: one channel group).
fn a_rows<T: Copy>(
    p: &Problem,
    a: &[T],
    per_group: usize,
    batch: usize,
    rows: &[usize],
    outside: T,
) -> Vec<T> {
    match &p.patch {
        Some(patch) => {
            rows.iter().flat_map(|&row| gathered(a, patch, per_group, batch, row, outside)).collect()
        }
        None => {
            let rows: Vec<usize> = rows.iter().map(|r| batch * p.m + r).collect();
            picked(a, p.k, &rows)
        }
    }
}
