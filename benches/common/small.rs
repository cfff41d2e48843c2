//! What a plan does between its products: sums, activations, permutations, scales.

use super::elementwise::{naive, ours, upload};
use super::{Case, Group, Work, buffer, random, read};
use weighbridge::Gpu;
use weighbridge::graph::Activation;
use weighbridge::ops::{
    Add, AddBindings, AddDescriptor, Axis, Call, Gather, GatherBindings, GatherDescriptor, Outside, Permute,
    PermuteBindings, PermuteDescriptor, RangeState, ScaleZeroPoint, ScaleZeroPointBindings, Strided,
    StridedBindings, StridedDescriptor, Unary, UnaryBindings, UnaryDescriptor,
};
use weighbridge::quant::{QuantParams, Scheme};
use weighbridge::tensor::{Element, View};

pub const ADD: &str = "add 4096x1024";
pub const UNARY: &str = "relu 4096x1024";
pub const PERMUTE: &str = "permute 4x64x56x56 to channels last";
pub const GATHER: &str = "gather 4096 rows of 30522x384";
pub const PAD: &str = "pad 4x56x56x64 by 1";
pub const QUANT_PARAMS: &str = "quant_params of 65536 ranges";

const ROWS: usize = 4096;
const COLUMNS: usize = 1024;

/// The naive kernel and ours, both held to exact results.
fn pair(
    gpu: &Gpu,
    entry: &str,
    uniform: [usize; 3],
    from: &[&wgpu::Buffer],
    want: Vec<f32>,
    bind: impl FnOnce(&wgpu::Buffer) -> weighbridge::Result<Call>,
) -> Vec<Case> {
    let want = std::rc::Rc::new(want);
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let want = want.clone();
        Box::new(move |gpu| {
            for (i, (&got, &want)) in read(gpu, &out, want.len()).iter().zip(want.iter()).enumerate() {
                assert_eq!(f32::from_bits(got), want, "at {i}");
            }
        })
    };
    let out = buffer(gpu, want.len());
    let buffers: Vec<&wgpu::Buffer> = from.iter().copied().chain([&out]).collect();
    let first = naive(gpu, entry, uniform, &buffers, want.len(), check(out.clone()));
    let out = buffer(gpu, want.len());
    let second = ours(bind(&out).unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
    vec![first, second]
}

fn matrix(buffer: &wgpu::Buffer) -> View<'_> {
    View::new(buffer, Element::F32, ROWS, COLUMNS)
}

/// Two tensors of one shape.
pub fn add(gpu: &Gpu) -> Group {
    let (a, b) = (random(21, ROWS * COLUMNS), random(22, ROWS * COLUMNS));
    let (a_in, b_in) = (upload(gpu, &a), upload(gpu, &b));
    let want = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let cases = pair(gpu, "add", [ROWS, COLUMNS, 0], &[&a_in, &b_in], want, |out| {
        let shape = [ROWS, COLUMNS];
        Add::with_kernels(gpu.kernels(), &AddDescriptor::default())?.bind(&AddBindings {
            out_params: None,
            a: matrix(&a_in),
            a_shape: &shape,
            b: matrix(&b_in),
            b_shape: &shape,
            params: None,
            out: matrix(out),
        })
    });
    Group { name: ADD.into(), work: Work::Bytes(12 * (ROWS * COLUMNS) as u64), cases }
}

/// An activation on its own.
pub fn unary(gpu: &Gpu) -> Group {
    let x = random(23, ROWS * COLUMNS);
    let from = upload(gpu, &x);
    let want = x.iter().map(|x| x.max(0.0)).collect();
    let cases = pair(gpu, "unary", [ROWS, COLUMNS, 0], &[&from], want, |out| {
        let d = UnaryDescriptor { activation: Activation::Relu, ..Default::default() };
        Unary::with_kernels(gpu.kernels(), &d)?.bind(&UnaryBindings {
            x: matrix(&from),
            params: None,
            out: matrix(out),
        })
    });
    Group { name: UNARY.into(), work: Work::Bytes(8 * (ROWS * COLUMNS) as u64), cases }
}

/// A batch of images from channels first to channels last.
pub fn permute(gpu: &Gpu) -> Group {
    let [n, c, s] = [4, 64, 56];
    let pixels = s * s;
    let x = random(24, n * c * pixels);
    let from = upload(gpu, &x);
    let at = |i: usize| (i / (c * pixels) * c + i % c) * pixels + i / c % pixels;
    let want = (0..x.len()).map(|i| x[at(i)]).collect();
    let cases = pair(gpu, "permute", [c, pixels, n], &[&from], want, |out| {
        Permute::with_kernels(gpu.kernels(), &PermuteDescriptor::default())?.bind(&PermuteBindings {
            x: View::new(&from, Element::F32, n * c * s, s),
            shape: &[n, c, s, s],
            order: &[0, 2, 3, 1],
            out: View::new(out, Element::F32, n * pixels, c),
        })
    });
    Group { name: PERMUTE.into(), work: Work::Bytes(8 * x.len() as u64), cases }
}

/// Rows of an embedding table.
pub fn gather(gpu: &Gpu) -> Group {
    let [n, columns, m] = [30_522, 384, 4096];
    let x = random(26, n * columns);
    let indices: Vec<u32> = (0..m as u32).map(|i| i.wrapping_mul(2_654_435_761) % n as u32).collect();
    let (from, at) = (upload(gpu, &x), upload(gpu, &indices));
    let want = indices.iter().flat_map(|&i| &x[i as usize * columns..][..columns]).copied().collect();
    let cases = pair(gpu, "gather", [n, columns, m], &[&from, &at], want, |out| {
        Gather::with_kernels(gpu.kernels(), &GatherDescriptor::default())?.bind(&GatherBindings {
            x: View::new(&from, Element::F32, n, columns),
            shape: &[n, columns],
            axis: 0,
            indices: View::new(&at, Element::I32, 1, m),
            params: None,
            out: View::new(out, Element::F32, m, columns),
        })
    });
    Group { name: GATHER.into(), work: Work::Bytes(8 * (m * columns) as u64), cases }
}

/// A border around a batch of images, channels last.
pub fn pad(gpu: &Gpu) -> Group {
    let [n, s, c] = [4, 56, 64];
    let x = random(27, n * s * s * c);
    let from = upload(gpu, &x);
    let side = s + 2;
    let inside = |i: usize| (1..=s).contains(&i);
    let at = |i: usize| {
        let (row, column) = (i / c / side % side, i / c % side);
        let image = i / c / side / side;
        (inside(row) && inside(column)).then(|| ((image * s + row - 1) * s + column - 1) * c + i % c)
    };
    let want: Vec<f32> = (0..n * side * side * c).map(|i| at(i).map_or(0.0, |i| x[i])).collect();
    let bytes = 4 * (x.len() + want.len()) as u64;
    let cases = pair(gpu, "pad", [c, s, n], &[&from], want, |out| {
        let padded = Axis { length: side, start: -1, outside: Outside::Fill, ..Axis::whole(s) };
        Strided::with_kernels(gpu.kernels(), &StridedDescriptor::default())?.bind(&StridedBindings {
            x: View::new(&from, Element::F32, n * s * s, c),
            x_shape: &[n, s, s, c],
            out: View::new(out, Element::F32, n * side * side, c),
            out_shape: &[n, side, side, c],
            axes: &[Axis::whole(n), padded, padded, Axis::whole(c)],
            fill: 0,
        })
    });
    Group { name: PAD.into(), work: Work::Bytes(bytes), cases }
}

/// Scales and zero points of many channels: ours are the CPU's to the last bit, which the device's division is not.
pub fn quant_params(gpu: &Gpu) -> Group {
    let count = 65_536;
    let scheme = Scheme::int8_affine();
    let states: Vec<RangeState> = random(25, 2 * count)
        .chunks(2)
        .map(|r| RangeState { min: r[0].min(r[1]), max: r[0].max(r[1]), flags: 0, batches: 1 })
        .collect();
    let want: Vec<QuantParams> =
        states.iter().map(|s| scheme.params(s.range()).expect("a valid range")).collect();
    let want = std::rc::Rc::new(want);
    let from = upload(gpu, &states);
    let check = |out: wgpu::Buffer, exact: bool| -> Box<dyn Fn(&Gpu)> {
        let want = want.clone();
        Box::new(move |gpu| {
            let words = read(gpu, &out, 4 * want.len());
            for (i, (got, want)) in words.chunks(4).zip(want.iter()).enumerate() {
                let (scale, zero) = (f32::from_bits(got[0]), got[2] as i32);
                let off = (scale - want.scale).abs() / want.scale;
                assert!(off <= if exact { 0.0 } else { 4.0 * f32::EPSILON }, "{i}: {scale} {want:?}");
                assert!((zero - want.zero_point).abs() <= i32::from(!exact), "{i}: {zero} {want:?}");
            }
        })
    };
    let out = buffer(gpu, 4 * count);
    let first = naive(gpu, "quant_params", [1, count, 0], &[&from, &out], count, check(out.clone(), false));
    let out = buffer(gpu, 4 * count);
    let call = ScaleZeroPoint::with_kernels(gpu.kernels(), &scheme).and_then(|op| {
        op.bind(&ScaleZeroPointBindings {
            state: View::params(&from, count),
            params: View::params(&out, count),
        })
    });
    let second = ours(call.unwrap_or_else(|e| panic!("{e}")), check(out.clone(), true));
    Group { name: QUANT_PARAMS.into(), work: Work::Bytes(32 * count as u64), cases: vec![first, second] }
}
