//! `conv` against the reference: every element, source of rows and blocking; strides, padding, dilation, groups.

#[path = "common/ending.rs"]
mod ending;
#[path = "common/gpu.rs"]
mod gpu;

use ending::{GELU, HARD_SWISH, ended, ended_in};
use gpu::{Guarded, Rng, gpu, has_broadcast};
use half::f16;
use weighbridge::graph::{Activation, Window};
use weighbridge::ops::{
    Blocking, Conv, ConvBindings, ConvDescriptor, ConvOperands, EpilogueBindings, Operand,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, Bias, ConvShape, Scales, Storage};
use weighbridge::tensor::{Data, Element, Tensor, View};

fn window(kernel: [usize; 2], stride: [usize; 2], pad: [usize; 4], dilation: [usize; 2]) -> Window {
    Window { kernel, stride, pad_begin: [pad[0], pad[1]], pad_end: [pad[2], pad[3]], dilation, ceil: false }
}

fn shapes() -> Vec<ConvShape> {
    let shape = |batch, image, channels, outputs, groups, window| ConvShape {
        batch,
        image,
        channels,
        outputs,
        groups,
        window,
    };
    vec![
        // Aligned channels, more rows than a tile.
        shape(2, [9, 7], 16, 20, 1, window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1])),
        // An image of one channel, and of three: rows by words.
        shape(1, [11, 10], 1, 8, 1, window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1])),
        // One channel, by more products than are summed between two folds.
        shape(1, [20, 18], 1, 5, 1, window([17, 16], [1, 1], [1, 0, 0, 1], [1, 1])),
        shape(2, [8, 9], 3, 5, 1, window([5, 2], [2, 3], [2, 0, 1, 1], [1, 2])),
        // 1x1, and a padding larger than the image.
        shape(1, [6, 5], 32, 33, 1, window([1, 1], [1, 1], [0, 0, 0, 0], [1, 1])),
        shape(1, [1, 2], 16, 4, 1, window([3, 3], [1, 2], [3, 2, 2, 3], [2, 1])),
        // Groups as products, depthwise, depthwise with a ragged quad, and groups too small for a product.
        shape(1, [5, 6], 32, 32, 2, window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1])),
        shape(1, [7, 6], 12, 12, 12, window([3, 3], [2, 1], [1, 1, 0, 1], [1, 1])),
        shape(2, [4, 4], 7, 7, 7, window([2, 3], [1, 1], [0, 1, 1, 1], [1, 1])),
        shape(1, [5, 5], 6, 9, 3, window([3, 2], [1, 1], [1, 0, 1, 1], [1, 2])),
    ]
}

struct Case<'a> {
    gpu: &'a weighbridge::Gpu,
    shape: ConvShape,
    element: Element,
    out: Element,
    activation: Activation,
    blocking: Blocking,
    b_zero: bool,
    /// `None` for the default.
    operand: Option<Operand>,
}

impl Case<'_> {
    fn descriptor(&self) -> ConvDescriptor {
        ConvDescriptor {
            element: self.element,
            out: self.out,
            window: self.shape.window,
            groups: self.shape.groups,
            activation: self.activation,
            max_pool: false,
            b_zero_point: self.b_zero,
            operand: self.operand,
            blocking: Some(self.blocking),
        }
    }

    fn sizes(&self) -> ([usize; 4], [usize; 4], [usize; 4]) {
        let s = &self.shape;
        let [kh, kw] = s.window.kernel;
        (
            [s.batch, s.image[0], s.image[1], s.channels],
            [s.outputs, kh, kw, s.channels / s.groups],
            s.output().unwrap(),
        )
    }

    fn run(&self, x: Tensor, w: Tensor, operands: ConvOperands<'_>) -> Tensor {
        let (gpu, s) = (self.gpu, &self.shape);
        let (_, _, [n, oh, ow, o]) = self.sizes();
        let d = self.descriptor();
        let packed = d.pack(&w).unwrap();
        let (xb, wb) = (gpu.upload(&x).unwrap(), gpu.upload_words(&packed.words).unwrap());
        let rows = n * oh * ow;
        let pitch = self.out.words(o);
        let out = Guarded::new(gpu, rows * pitch);
        let call = Conv::new(gpu.device(), &d)
            .unwrap()
            .bind(&ConvBindings {
                x: View::new(&xb, self.element, s.batch * s.image[0] * s.image[1], s.channels),
                batch: s.batch,
                size: s.image,
                weights: View::new(&wb, Element::I32, packed.words.len() / packed.pitch, packed.pitch),
                operands,
                out: View::new(&out.buffer, self.out, rows, o),
            })
            .unwrap_or_else(|e| panic!("{s:?}: {e}"));
        gpu.submit(|pass| call.record(pass));
        out.matrix(gpu, self.out, rows, o, pitch)
    }

    fn float(&self) {
        let s = self.shape;
        let (xs, ws, _) = self.sizes();
        let mut rng = Rng(s.channels as u64 * 7 + s.outputs as u64);
        let x = rng.f32s(xs.iter().product());
        let w = rng.f32s(ws.iter().product());
        let bias = rng.f32s(s.outputs);
        let tensor = |shape: [usize; 4], v: &[f32]| match self.element {
            Element::F16 => {
                Tensor::new(shape, Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect())).unwrap()
            }
            _ => Tensor::f32(shape, v).unwrap(),
        };
        let (x, w) = (tensor(xs, &x), tensor(ws, &w));
        let bias_buffer = self.gpu.upload(&Tensor::f32([s.outputs], bias.clone()).unwrap()).unwrap();
        let bias_view = View::new(&bias_buffer, Element::F32, 1, s.outputs);
        let got = self
            .run(x.clone(), w.clone(), ConvOperands::Float { bias: Some(bias_view), out_params: None })
            .to_f32();
        let function = matches!(self.activation, Activation::Function(_));
        let args = reference::Conv {
            shape: s,
            x: &x.to_f32(),
            weight: &w.to_f32(),
            bias: Some(&bias),
            activation: if function { Activation::Identity } else { self.activation },
        };
        let storage = if self.out == Element::F16 { Storage::F16 } else { Storage::F32 };
        let mut want = reference::conv2d(&args).unwrap();
        let inner = if function { Storage::F32 } else { storage };
        let mut bound = reference::conv2d_bound(&args, inner).unwrap();
        for (y, bound) in want.iter_mut().zip(&mut bound).filter(|_| function) {
            (*y, *bound) = ended_in(storage, self.activation, *y, *bound);
        }
        for i in 0..want.len() {
            let y = f64::from(got[i]);
            assert!(
                (y - want[i]).abs() <= bound[i],
                "{:?} {s:?} at {i}: {y} is not {} +- {}",
                self.element,
                want[i],
                bound[i]
            );
        }
    }

    fn int8(&self) {
        let s = self.shape;
        let (xs, ws, _) = self.sizes();
        let mut rng = Rng(s.channels as u64 * 5 + s.outputs as u64);
        let x = rng.i8s(xs.iter().product());
        let w = rng.i8s(ws.iter().product());
        let p = |scale: f32, z: i32| QuantParams::new(scale, z, -128, 127).unwrap();
        let a_params = p(0.02, -77);
        let b_params: Vec<QuantParams> = (0..s.outputs)
            .map(|i| p(0.01 + 0.001 * i as f32, if self.b_zero { 5 - i as i32 } else { 0 }))
            .collect();
        let k = ws[1..].iter().product::<usize>();
        let out_params = p(0.4 * (k as f32).sqrt(), 9);
        let bias = rng.f32s(s.outputs);
        let upload = |v: &[QuantParams]| self.gpu.upload_words(bytemuck::cast_slice(v)).unwrap();
        let (ab, bb, ob) = (upload(&[a_params]), upload(&b_params), upload(&[out_params]));
        let weights = Tensor::new(ws, Data::I8(w.clone())).unwrap();
        let sums = self.descriptor().pack(&weights).unwrap().sums;
        let sums = self.gpu.upload(&Tensor::new([s.outputs], Data::I32(sums)).unwrap()).unwrap();
        let bias_buffer = self.gpu.upload(&Tensor::f32([s.outputs], bias.clone()).unwrap()).unwrap();
        let with_bias = self.out != Element::I32;
        let got = self.run(
            Tensor::new(xs, Data::I8(x.clone())).unwrap(),
            weights,
            ConvOperands::Int8(EpilogueBindings {
                a_params: View::params(&ab, 1),
                b_params: View::params(&bb, s.outputs),
                b_sums: View::new(&sums, Element::I32, 1, s.outputs),
                bias: with_bias.then(|| View::new(&bias_buffer, Element::F32, 1, s.outputs)),
                out_params: (self.out == Element::I8).then(|| View::params(&ob, 1)),
            }),
        );
        let acc = reference::conv2d_i8(&reference::ConvI8 {
            shape: s,
            x: &x,
            weight: &w,
            x_zero_point: a_params.zero_point,
            weight_zero_point: &b_params.iter().map(|p| p.zero_point).collect::<Vec<_>>(),
        })
        .unwrap();
        let sb: Vec<f32> = b_params.iter().map(|p| p.scale).collect();
        let scales = Scales { a: &[a_params.scale], b: &sb };
        match got.data() {
            Data::I32(got) => assert_eq!(*got, acc, "{s:?}"),
            Data::I8(got) => {
                let want = reference::requantize(
                    &acc,
                    s.outputs,
                    scales,
                    Bias::F32(&bias),
                    self.activation,
                    &out_params,
                )
                .unwrap();
                for (i, (&g, &w)) in got.iter().zip(&want.q).enumerate() {
                    let mut near = 1e-4;
                    if let Activation::Function(_) = self.activation {
                        let bias = f64::from(bias[i % s.outputs]);
                        let scaled = f64::from(acc[i]) * f64::from(a_params.scale * sb[i % s.outputs]);
                        let error = 4.0 * f64::from(f32::EPSILON) * (scaled.abs() + bias.abs());
                        let (_, bound) = ended(self.activation, scaled + bias, error);
                        near += bound / f64::from(out_params.scale);
                    }
                    let tie = (want.exact[i].fract().abs() - 0.5).abs() < near;
                    let off = (i32::from(g) - i32::from(w)).abs();
                    assert!(
                        off == 0 || (tie && off == 1),
                        "{s:?} at {i}: {g} is not {w} ({})",
                        want.exact[i]
                    );
                }
            }
            _ => unreachable!(),
        }
    }
}

const INT8: [Operand; 3] = [Operand::I8Dot, Operand::I8Wide, Operand::I8Int];

fn every_shape(blocking: Blocking) {
    let Some(gpu) = gpu() else { return };
    if matches!(blocking, Blocking::Broadcast { .. }) && !has_broadcast(gpu) {
        return;
    }
    for (i, shape) in shapes().into_iter().enumerate() {
        let case = |element, out, activation, b_zero| Case {
            gpu,
            shape,
            element,
            out,
            activation,
            operand: None,
            blocking,
            b_zero,
        };
        case(Element::F32, Element::F32, Activation::Relu, false).float();
        case(Element::F16, if i % 2 == 0 { Element::F16 } else { Element::F32 }, Activation::Identity, false)
            .float();
        for operand in INT8 {
            let operand = Some(operand);
            Case { operand, ..case(Element::I8, Element::I32, Activation::Identity, true) }.int8();
        }
        case(Element::I8, Element::I8, Activation::Relu, false).int8();
        case(Element::F32, if i % 2 == 0 { Element::F32 } else { Element::F16 }, HARD_SWISH, false).float();
        case(Element::I8, Element::I8, GELU, i % 2 == 0).int8();
    }
}

#[test]
fn broadcast() {
    every_shape(Blocking::Broadcast { lanes: 8, groups: 2, quads: 1 });
}

#[test]
fn direct() {
    every_shape(Blocking::Direct { lanes: 8, rows: 8, quads: 1 });
}

#[test]
fn tiled() {
    every_shape(Blocking::TILED);
}

#[test]
fn parted_and_small_tiles() {
    let Some(gpu) = gpu() else { return };
    let parted = Blocking::Parted { lanes: 8, parts: 4, rows: 2, quads: 1 };
    for (i, shape) in shapes().into_iter().enumerate() {
        let blocking = if i % 2 == 0 { parted } else { Blocking::tiled(32, 32) };
        let case = |element, out, b_zero| Case {
            gpu,
            shape,
            element,
            out,
            activation: Activation::Identity,
            operand: None,
            blocking,
            b_zero,
        };
        case(Element::F32, Element::F32, false).float();
        Case { operand: Some(INT8[i % 3]), ..case(Element::I8, Element::I32, true) }.int8();
    }
}
