//! A 3x3 convolution of a batch of 4 images of 28x28, 32 channels to 64.

use super::{Case, Group, Role, Work, buffer, plain, random, read};
use half::f16;
use weighbridge::Gpu;
use weighbridge::graph::{Activation, Window};
use weighbridge::ops::{Conv, ConvBindings, ConvDescriptor, ConvOperands, EpilogueBindings};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, ConvShape};
use weighbridge::tensor::{Data, Element, Tensor, View};

pub const NAME: &str = "conv 3x3, 4x28x28x32 to 64";
const NAIVE: &str = include_str!("../../shaders/naive/conv.wgsl");

fn problem() -> ConvShape {
    let window = Window {
        kernel: [3, 3],
        stride: [1, 1],
        pad_begin: [1, 1],
        pad_end: [1, 1],
        dilation: [1, 1],
        ceil: false,
    };
    ConvShape { batch: 4, image: [28, 28], channels: 32, outputs: 64, groups: 1, window }
}

fn tensor(element: Element, seed: u64, shape: [usize; 4]) -> Tensor {
    let v = random(seed, shape.iter().product());
    let data = match element {
        Element::F16 => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
        Element::I8 => Data::I8(v.iter().map(|&x| (x * 128.0).floor() as i8).collect()),
        _ => Data::F32(v),
    };
    Tensor::new(shape, data).expect("a whole tensor")
}

/// Compares the last image with the specification.
fn check(x: &Tensor, w: &Tensor, out: wgpu::Buffer) -> Box<dyn Fn(&Gpu)> {
    let shape = ConvShape { batch: 1, ..problem() };
    let (x, w) = (x.to_f32(), w.to_f32());
    let [h, wide] = shape.image;
    let pixels = h * wide;
    Box::new(move |gpu| {
        let args = reference::Conv {
            shape,
            x: &x[3 * pixels * shape.channels..],
            weight: &w,
            bias: None,
            activation: Activation::Identity,
        };
        let want = reference::conv2d(&args).expect("a valid problem");
        let bound = reference::conv2d_bound(&args, reference::Storage::F32).expect("a valid problem");
        let got = read(gpu, &out, 4 * pixels * shape.outputs);
        for (i, &word) in got[3 * pixels * shape.outputs..].iter().enumerate() {
            let y = f64::from(f32::from_bits(word));
            assert!((y - want[i]).abs() <= bound[i], "{i} is {y}, not {} +- {}", want[i], bound[i]);
        }
    })
}

fn naive(gpu: &Gpu, x: &Tensor, w: &Tensor) -> Case {
    let s = problem();
    let results = s.batch * s.image[0] * s.image[1] * s.outputs;
    let xb = gpu.upload(x).expect("within the limits");
    let wb = gpu.upload(w).expect("within the limits");
    let out = buffer(gpu, results);
    let uniform = [s.batch, s.image[0], s.image[1], s.channels, s.outputs].map(|d| d as u32);
    let grid = [results.div_ceil(64) as u32, 1, 1];
    let record = plain(gpu, NAIVE, "main", &uniform, &[&xb, &wb, &out], grid);
    Case { name: "naive f32".into(), role: Role::Naive, record, check: check(x, w, out) }
}

fn ours(gpu: &Gpu, element: Element) -> Case {
    let s = problem();
    let [h, wide] = s.image;
    let (x, w) = (
        tensor(element, 3, [s.batch, h, wide, s.channels]),
        tensor(element, 4, [s.outputs, 3, 3, s.channels]),
    );
    let descriptor = ConvDescriptor {
        element,
        out: Element::F32,
        window: s.window,
        groups: 1,
        activation: Activation::Identity,
        max_pool: false,
        b_zero_point: false,
        operand: None,
        blocking: None,
    };
    let packed = descriptor.pack(&w).expect("float or int8 weights");
    let rows = s.batch * h * wide;
    let xb = gpu.upload(&x).expect("within the limits");
    let wb = gpu.upload_words(&packed.words).expect("within the limits");
    let one = QuantParams::new(1.0, 0, -128, 127).expect("valid");
    let params = gpu.upload_words(bytemuck::cast_slice(&[one])).expect("within the limits");
    let sums: Vec<u32> = packed.sums.iter().map(|&x| x as u32).collect();
    let sums = gpu.upload_words(&sums).expect("within the limits");
    let out = buffer(gpu, rows * s.outputs);
    let operands = match element {
        Element::I8 => ConvOperands::Int8(EpilogueBindings {
            a_params: View::params(&params, 1),
            b_params: View::params(&params, 1),
            b_sums: View::new(&sums, Element::I32, 1, s.outputs),
            bias: None,
            out_params: None,
        }),
        _ => ConvOperands::Float { bias: None, out_params: None },
    };
    let call = Conv::with_kernels(gpu.kernels(), &descriptor)
        .and_then(|op| {
            op.bind(&ConvBindings {
                x: View::new(&xb, element, rows, s.channels),
                batch: s.batch,
                size: s.image,
                weights: View::new(&wb, Element::I32, packed.words.len() / packed.pitch, packed.pitch),
                operands,
                out: View::new(&out, Element::F32, rows, s.outputs),
            })
        })
        .unwrap_or_else(|e| panic!("{e}"));
    let kernel = call.dispatches().next().map(|(label, _)| label.to_owned()).unwrap_or_default();
    Case {
        name: kernel.split_once('/').map_or("", |(_, variant)| variant).into(),
        role: if element == Element::F32 { Role::F32 } else { Role::Ours },
        record: Box::new(move |pass| call.record(pass)),
        check: check(&x, &w, out),
    }
}

/// A naive kernel in f32, and ours in f32, f16 and int8.
pub fn group(gpu: &Gpu) -> Group {
    let s = problem();
    let x = tensor(Element::F32, 3, [s.batch, s.image[0], s.image[1], s.channels]);
    let w = tensor(Element::F32, 4, [s.outputs, 3, 3, s.channels]);
    let mut cases = vec![naive(gpu, &x, &w)];
    cases.extend([Element::F32, Element::F16, Element::I8].map(|element| ours(gpu, element)));
    let products = s.batch * s.image[0] * s.image[1] * s.outputs * 9 * s.channels;
    Group { name: NAME.into(), work: Work::Operations(2 * products as u64), cases }
}
