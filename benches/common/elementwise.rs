//! Ranges, quantization and pools: what is bound by memory.

use super::{Case, Group, Role, Work, buffer, plain, random, read};
use weighbridge::Gpu;
use weighbridge::graph::{BinaryOp, PoolKind, UnaryOp, Window};
use weighbridge::ops::{
    Binary, BinaryBindings, BinaryDescriptor, Call, Dequantize, MinMax, MinMaxBindings, MinMaxDescriptor,
    Pool, PoolBindings, PoolDescriptor, Quantize, QuantizeBindings, QuantizeDescriptor, QuantizeRows,
    QuantizeRowsBindings, QuantizeRowsDescriptor, Unary, UnaryBindings, UnaryDescriptor,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference;
use weighbridge::tensor::{Element, Tensor, View};

pub const QUANTIZE_ROWS: &str = "quantize_rows 4096x1024";
pub const POOL: &str = "max pool 3x3, 4x56x56x64";
pub const GELU: &str = "gelu 4096x1024";
pub const MUL: &str = "mul 4096x1024 by a row";
const NAIVE: &str = include_str!("../../shaders/naive/elementwise.wgsl");
/// 16 M elements.
pub const LEN: usize = 1 << 24;
/// Makes the group of a problem of so many elements, a multiple of four.
pub type Make = fn(&Gpu, usize) -> Group;
/// What goes through one tensor.
pub const SIZED: [(&str, Make); 3] = [("minmax", minmax), ("quantize", quantize), ("dequantize", dequantize)];

/// The name of a group of so many elements.
pub fn name(op: &str, len: usize) -> String {
    match len >> 20 {
        0 => format!("{op} {}K", len >> 10),
        millions => format!("{op} {millions}M"),
    }
}

pub fn upload<T: bytemuck::Pod>(gpu: &Gpu, values: &[T]) -> wgpu::Buffer {
    gpu.upload_words(bytemuck::cast_slice(values)).expect("within the limits")
}

pub fn naive(
    gpu: &Gpu,
    entry: &str,
    uniform: [usize; 3],
    buffers: &[&wgpu::Buffer],
    threads: usize,
    check: Box<dyn Fn(&Gpu)>,
) -> Case {
    let groups = threads.div_ceil(64);
    let y = groups.div_ceil(65_535);
    let [rows, columns, more] = uniform.map(|v| v as u32);
    let grid = [groups.div_ceil(y) as u32, y as u32, 1];
    // Entry points that share a file share no bindings but by number.
    let record = plain(gpu, NAIVE, entry, &[rows, columns, more, 0], buffers, grid);
    Case { name: "naive f32".into(), role: Role::Naive, record, check }
}

pub fn ours(call: Call, check: Box<dyn Fn(&Gpu)>) -> Case {
    let kernel = call.dispatches().next().map(|(label, _)| label.to_owned()).unwrap_or_default();
    let name = kernel.split_once('/').map_or("", |(_, variant)| variant).to_owned();
    Case { name, role: Role::F32, record: Box::new(move |pass| call.record(pass)), check }
}

/// The range of reals.
pub fn minmax(gpu: &Gpu, len: usize) -> Group {
    let x = random(7, len);
    let want = x.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[lo, hi], &x| [lo.min(x), hi.max(x)]);
    let from = upload(gpu, &x);
    let (keys, state) = (buffer(gpu, 4), buffer(gpu, 4));
    let op = MinMax::with_kernels(gpu.kernels(), &MinMaxDescriptor::default()).expect("f32");
    let bindings = MinMaxBindings {
        x: View::new(&from, Element::F32, 1, len),
        outer: 1,
        state: View::params(&state, 1),
    };
    let call = op.bind(&bindings).unwrap_or_else(|e| panic!("{e}"));
    let real = |key: u32| f32::from_bits(if key >> 31 == 1 { key & 0x7fff_ffff } else { !key });
    let in_keys = keys.clone();
    let check = move |gpu: &Gpu| {
        let got = read(gpu, &in_keys, 2);
        assert_eq!([real(!got[0]), real(got[1])], want);
    };
    let naive = naive(gpu, "minmax", [1, len, 0], &[&from, &keys], len, Box::new(check));
    let check = move |gpu: &Gpu| {
        let got = read(gpu, &state, 2);
        assert_eq!([f32::from_bits(got[0]), f32::from_bits(got[1])], want);
    };
    let cases = vec![naive, ours(call, Box::new(check))];
    Group { name: name("minmax", len), work: Work::Bytes(4 * len as u64), cases }
}

/// Compares bytes with `steps(index)`, the exact real in steps, where it is not within rounding of a tie.
fn bytes(gpu: &Gpu, out: &wgpu::Buffer, len: usize, steps: impl Fn(usize) -> f64) {
    let got = read(gpu, out, len / 4);
    let mut ties = 0;
    for i in (0..len).step_by(61) {
        let exact = steps(i);
        let byte = (got[i / 4] >> (8 * (i % 4))) as u8 as i8;
        let off = f64::from(byte) - exact.clamp(-128.0, 127.0);
        assert!(off.abs() < 0.5 + 1e-4, "{i} is {byte}, not {exact}");
        ties += usize::from(off.abs() > 0.5);
    }
    assert!(ties * 1000 < len, "{ties} off a tie");
}

fn params() -> QuantParams {
    QuantParams::new(0.0079, 3, -128, 127).expect("valid")
}

/// Reals to int8.
pub fn quantize(gpu: &Gpu, len: usize) -> Group {
    let x = random(8, len);
    let (from, one) = (upload(gpu, &x), upload(gpu, &[params()]));
    let op = Quantize::with_kernels(gpu.kernels(), &QuantizeDescriptor::default()).expect("f32");
    let x = std::rc::Rc::new(x);
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let (x, p) = (x.clone(), params());
        Box::new(move |gpu| bytes(gpu, &out, len, |i| f64::from(x[i]) * f64::from(p.inv_scale) + 3.0))
    };
    let out = buffer(gpu, len / 4);
    let first = naive(gpu, "quantize", [1, len, 0], &[&from, &one, &out], len / 4, check(out.clone()));
    let out = buffer(gpu, len / 4);
    let call = op.bind(&QuantizeBindings {
        x: View::new(&from, Element::F32, 1, len),
        params: View::params(&one, 1),
        out: View::new(&out, Element::I8, 1, len),
    });
    let second = ours(call.unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
    Group { name: name("quantize", len), work: Work::Bytes(5 * len as u64), cases: vec![first, second] }
}

/// Int8 to reals.
pub fn dequantize(gpu: &Gpu, len: usize) -> Group {
    let q: Vec<u32> = random(9, len / 4).iter().map(|x| x.to_bits().wrapping_mul(2_654_435_761)).collect();
    let (from, one) = (upload(gpu, &q), upload(gpu, &[params()]));
    let op = Dequantize::with_kernels(gpu.kernels(), &QuantizeDescriptor::default()).expect("f32");
    let q = std::rc::Rc::new(q);
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let (q, p) = (q.clone(), params());
        Box::new(move |gpu| {
            let got = read(gpu, &out, len);
            for i in (0..len).step_by(61) {
                let byte = i32::from((q[i / 4] >> (8 * (i % 4))) as u8 as i8);
                let (y, want) = (f32::from_bits(got[i]), (byte - p.zero_point) as f32 * p.scale);
                assert!((y - want).abs() <= want.abs() * f32::EPSILON, "{i} is {y}, not {want}");
            }
        })
    };
    let out = buffer(gpu, len);
    let first = naive(gpu, "dequantize", [1, len, 0], &[&from, &one, &out], len, check(out.clone()));
    let out = buffer(gpu, len);
    let call = op.bind(&QuantizeBindings {
        x: View::new(&from, Element::I8, 1, len),
        params: View::params(&one, 1),
        out: View::new(&out, Element::F32, 1, len),
    });
    let second = ours(call.unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
    Group { name: name("dequantize", len), work: Work::Bytes(5 * len as u64), cases: vec![first, second] }
}

/// 4096 tokens of 1024, each with its own range.
pub fn quantize_rows(gpu: &Gpu) -> Group {
    let (rows, columns) = (4096, 1024);
    let x = random(10, rows * columns);
    let from = upload(gpu, &x);
    let x = std::rc::Rc::new(x);
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let largest = |row: &[f32]| row.iter().fold(1e-5f32, |m, x| m.max(x.abs()));
        let scales: Vec<f64> = x.chunks(columns).map(|row| f64::from(largest(row)) / 127.0).collect();
        let x = x.clone();
        Box::new(move |gpu| bytes(gpu, &out, rows * columns, |i| f64::from(x[i]) / scales[i / columns]))
    };
    let (out, params) = (buffer(gpu, rows * columns / 4), buffer(gpu, rows * 4));
    let buffers = [&from, &out, &params];
    let first = naive(gpu, "quantize_rows", [rows, columns, 0], &buffers, rows, check(out.clone()));
    let (out, params) = (buffer(gpu, rows * columns / 4), buffer(gpu, rows * 4));
    let call = QuantizeRows::with_kernels(gpu.kernels(), &QuantizeRowsDescriptor::default()).and_then(|op| {
        op.bind(&QuantizeRowsBindings {
            x: View::new(&from, Element::F32, rows, columns),
            out: View::new(&out, Element::I8, rows, columns),
            params: View::params(&params, rows),
        })
    });
    let second = ours(call.unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
    let work = Work::Bytes(5 * (rows * columns) as u64);
    Group { name: QUANTIZE_ROWS.into(), work, cases: vec![first, second] }
}

/// The largest of 3x3 with stride 2, of a batch of 4 images of 56x56, 64 channels.
pub fn pool(gpu: &Gpu) -> Group {
    let (batch, size, channels, out_size) = (4, 56, 64, 28);
    let x = random(11, batch * size * size * channels);
    let window = Window::new([3, 3], [2, 2]).padded([1, 1]);
    let pool = reference::Pool { batch, image: [size, size], channels, window };
    // The padding at the end is never reached.
    let pool = reference::Pool { window: Window { pad_end: [0, 0], ..pool.window }, ..pool };
    let want = std::rc::Rc::new(reference::max_pool(&x, &pool).expect("a valid problem"));
    let results = batch * out_size * out_size * channels;
    assert_eq!(want.len(), results);
    let from = upload(gpu, &x);
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let want = want.clone();
        Box::new(move |gpu| {
            for (i, (&got, want)) in read(gpu, &out, results).iter().zip(want.iter()).enumerate() {
                assert_eq!(f32::from_bits(got), *want, "at {i}");
            }
        })
    };
    let out = buffer(gpu, results);
    let first = naive(gpu, "pool", [size, channels, batch], &[&from, &out], results, check(out.clone()));
    let out = buffer(gpu, results);
    let descriptor = PoolDescriptor { element: Element::F32, kind: PoolKind::Max, window: pool.window };
    let call = Pool::with_kernels(gpu.kernels(), &descriptor).and_then(|op| {
        op.bind(&PoolBindings {
            x: View::new(&from, Element::F32, batch * size * size, channels),
            batch,
            size: [size, size],
            params: None,
            out: View::new(&out, Element::F32, batch * out_size * out_size, channels),
        })
    });
    let second = ours(call.unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
    let work = Work::Bytes(4 * (x.len() + results) as u64);
    Group { name: POOL.into(), work, cases: vec![first, second] }
}

/// The naive kernel and ours, both held to a number of units of f32 (of 1 where they are smaller).
fn near(
    gpu: &Gpu,
    entry: &str,
    [rows, columns]: [usize; 2],
    from: &[&wgpu::Buffer],
    (want, units): (Vec<f32>, f32),
    bind: impl FnOnce(&wgpu::Buffer) -> weighbridge::Result<Call>,
) -> Vec<Case> {
    let want = std::rc::Rc::new(want);
    let check = |out: wgpu::Buffer| -> Box<dyn Fn(&Gpu)> {
        let want = want.clone();
        Box::new(move |gpu| {
            for (i, (&got, &want)) in read(gpu, &out, want.len()).iter().zip(want.iter()).enumerate() {
                let got = f32::from_bits(got);
                let most = units * f32::EPSILON * want.abs().max(1.0);
                assert!((got - want).abs() <= most, "{got}, not {want}, at {i}");
            }
        })
    };
    let out = buffer(gpu, want.len());
    let buffers: Vec<&wgpu::Buffer> = from.iter().copied().chain([&out]).collect();
    let first = naive(gpu, entry, [rows, columns, 0], &buffers, want.len(), check(out.clone()));
    let out = buffer(gpu, want.len());
    let second = ours(bind(&out).unwrap_or_else(|e| panic!("{e}")), check(out.clone()));
    vec![first, second]
}

/// A function that is dear: 4 M of GELU, by the error function.
pub fn gelu(gpu: &Gpu) -> Group {
    let [rows, columns] = [4096, 1024];
    let x = random(12, rows * columns);
    let from = upload(gpu, &x);
    let function = UnaryOp::Gelu { tanh: false };
    let x = Tensor::f32([rows, columns], x).expect("as many");
    let want = reference::unary(function, &x).expect("reals").to_f32();
    // The polynomial's 16 units by half of x, which is 1 at most.
    let cases = near(gpu, "gelu", [rows, columns], &[&from], (want, 8.0), |out| {
        let d = UnaryDescriptor { function: Some(function), ..Default::default() };
        Unary::with_kernels(gpu.kernels(), &d)?.bind(&UnaryBindings {
            x: View::new(&from, Element::F32, rows, columns),
            params: None,
            out: View::new(out, Element::F32, rows, columns),
        })
    });
    Group { name: GELU.into(), work: Work::Bytes(8 * (rows * columns) as u64), cases }
}

/// Rows times one row, as a scale for each channel.
pub fn mul(gpu: &Gpu) -> Group {
    let [rows, columns] = [4096, 1024];
    let (a, b) = (random(13, rows * columns), random(14, columns));
    let (a_in, b_in) = (upload(gpu, &a), upload(gpu, &b));
    let want = a.iter().enumerate().map(|(i, a)| a * b[i % columns]).collect();
    let cases = near(gpu, "mul", [rows, columns], &[&a_in, &b_in], (want, 1.0), |out| {
        let d = BinaryDescriptor { element: Element::F32, out: Element::F32, function: BinaryOp::Mul };
        Binary::with_kernels(gpu.kernels(), &d)?.bind(&BinaryBindings {
            out_params: None,
            a: View::new(&a_in, Element::F32, rows, columns),
            a_shape: &[rows, columns],
            b: View::new(&b_in, Element::F32, 1, columns),
            b_shape: &[columns],
            out: View::new(out, Element::F32, rows, columns),
        })
    });
    Group { name: MUL.into(), work: Work::Bytes(8 * (rows * columns) as u64), cases }
}
