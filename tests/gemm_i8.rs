//! `gemm_i8` against the reference: sums equal, floats within bounds, requantized bytes equal but for ties.

#[path = "common/ending.rs"]
mod ending;
#[path = "common/gpu.rs"]
mod gpu;

use ending::{GELU, HARD_SWISH, ended};
use gpu::{Guarded, Rng, gpu, has_broadcast, upload_pitched};
use weighbridge::graph::Activation;
use weighbridge::ops::{
    Blocking, EpilogueBindings, GemmI8, GemmI8Bindings, GemmI8Descriptor, Layout, Operand, Packed,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, BLayout, Bias, Scales};
use weighbridge::tensor::{Data, Element, Tensor, View};

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    batch: usize,
    /// 0: none, 1: f32, 2: i32.
    bias: u8,
    activation: Activation,
    out: Element,
    layout: Layout,
    operand: Operand,
    blocking: Blocking,
    b_zero: bool,
    per_channel: bool,
    per_row: bool,
    gap: usize,
    /// Every operand at its most negative.
    /// What all of a is, with a b of -128; `None` for random operands.
    extreme: Option<i8>,
}

fn params(gpu: &weighbridge::Gpu, p: &[QuantParams]) -> wgpu::Buffer {
    gpu.upload_words(bytemuck::cast_slice(p)).unwrap()
}

fn check(gpu: &weighbridge::Gpu, c: Case) {
    let mut rng = Rng((c.m * 131 + c.n * 17 + c.k) as u64);
    let rows = c.batch * c.m;
    let mut fill = |n: usize, all: Option<i8>| all.map_or_else(|| rng.i8s(n), |x| vec![x; n]);
    let a = Tensor::new([rows, c.k], Data::I8(fill(rows * c.k, c.extreme))).unwrap();
    let b = fill(c.n * c.k, c.extreme.map(|_| -128));
    let mut some = |count: usize, zero: bool| -> Vec<QuantParams> {
        (0..count)
            .map(|_| {
                let scale = 0.01 + 0.02 * rng.unit().abs();
                let zero_point = if zero { (rng.next() % 256) as i32 - 128 } else { 0 };
                QuantParams::new(scale, zero_point, -128, 127).unwrap()
            })
            .collect()
    };
    let a_params = some(if c.per_row { rows } else { 1 }, true);
    let b_params = some(if c.per_channel { c.n } else { 1 }, c.b_zero);
    let out_params = QuantParams::new(0.7 * (c.k as f32).sqrt() + 0.01, 13, -128, 127).unwrap();
    let bias_f32: Vec<f32> = rng.f32s(c.n).iter().map(|x| x * 20.0).collect();
    let bias_i32: Vec<i32> = (0..c.n).map(|_| rng.next() as i16 as i32).collect();

    let a_pitch = Element::I8.words(c.k) + c.gap;
    let out_pitch = c.out.words(c.n) + c.gap;
    let a_buffer = upload_pitched(gpu, &a, a_pitch);
    let b_nk = Tensor::new([c.n, c.k], Data::I8(b.clone())).unwrap();
    let packed = Packed::new(&b_nk, 1).unwrap();
    let (b_buffer, b_shape, b_element) = match c.layout {
        Layout::Nk => (gpu.upload(&b_nk).unwrap(), [c.n, c.k], Element::I8),
        Layout::Kn => {
            let t = (0..c.n * c.k).map(|i| b[i % c.n * c.k + i / c.n]).collect();
            (gpu.upload(&Tensor::new([c.k, c.n], Data::I8(t)).unwrap()).unwrap(), [c.k, c.n], Element::I8)
        }
        Layout::Packed => {
            (gpu.upload_words(&packed.words).unwrap(), [packed.rows, packed.pitch], Element::I32)
        }
    };
    let sums = gpu.upload(&Tensor::new([c.n], Data::I32(packed.sums.clone())).unwrap()).unwrap();
    let bias_buffer = match c.bias {
        2 => gpu.upload(&Tensor::new([c.n], Data::I32(bias_i32.clone())).unwrap()).unwrap(),
        _ => gpu.upload(&Tensor::f32([c.n], bias_f32.clone()).unwrap()).unwrap(),
    };
    let bias_element = if c.bias == 2 { Element::I32 } else { Element::F32 };
    let (a_p, b_p, o_p) = (params(gpu, &a_params), params(gpu, &b_params), params(gpu, &[out_params]));
    let out = Guarded::new(gpu, rows * out_pitch);
    let op = GemmI8::new(
        gpu.device(),
        &GemmI8Descriptor {
            out: c.out,
            layout: c.layout,
            b_zero_point: c.b_zero,
            activation: c.activation,
            operand: Some(c.operand),
            blocking: Some(c.blocking),
        },
    )
    .unwrap();
    let bindings = GemmI8Bindings {
        a: View::new(&a_buffer, Element::I8, rows, c.k).with_pitch(a_pitch),
        b: View::new(&b_buffer, b_element, b_shape[0], b_shape[1]),
        epilogue: EpilogueBindings {
            a_params: View::params(&a_p, a_params.len()),
            b_params: View::params(&b_p, b_params.len()),
            b_sums: View::new(&sums, Element::I32, 1, c.n),
            bias: (c.bias != 0).then(|| View::new(&bias_buffer, bias_element, 1, c.n)),
            out_params: (c.out == Element::I8).then(|| View::params(&o_p, 1)),
        },
        out: View::new(&out.buffer, c.out, rows, c.n).with_pitch(out_pitch),
        batch: c.batch,
    };
    let call = op.bind(&bindings).unwrap_or_else(|e| panic!("{c:?}: {e}"));
    gpu.submit(|pass| call.record(pass));
    let got = out.matrix(gpu, c.out, rows, c.n, out_pitch);

    let zeros = |p: &[QuantParams]| p.iter().map(|p| p.zero_point).collect::<Vec<_>>();
    let scales = |p: &[QuantParams]| p.iter().map(|p| p.scale).collect::<Vec<_>>();
    let Data::I8(a) = a.data() else { unreachable!() };
    let acc = reference::gemm_i8(&reference::GemmI8 {
        batch: c.batch,
        m: c.m,
        n: c.n,
        k: c.k,
        a,
        b: &b,
        a_zero_point: &zeros(&a_params),
        b_zero_point: &zeros(&b_params),
        layout: BLayout::Nk,
    })
    .unwrap();
    let (sa, sb) = (scales(&a_params), scales(&b_params));
    let scales = Scales { a: &sa, b: &sb };
    // Two roundings of the product and one of the sum, each of the larger term.
    let real_bias = (c.bias == 1).then_some(&bias_f32[..]);
    let error = |i: usize| {
        let size = acc[i].unsigned_abs() as f32 * sa[i / c.n % sa.len()] * sb[i % c.n % sb.len()];
        4.0 * f32::EPSILON * (size + real_bias.map_or(0.0, |b| b[i % c.n].abs()))
    };
    let function = matches!(c.activation, Activation::Function(_));
    match got.data() {
        Data::I32(got) => {
            let want: Vec<i32> = acc
                .iter()
                .enumerate()
                .map(|(i, &x)| if c.bias == 2 { x + bias_i32[i % c.n] } else { x })
                .collect();
            assert_eq!(*got, want, "{c:?}");
        }
        Data::I8(got) => {
            let bias = match c.bias {
                0 => Bias::None,
                1 => Bias::F32(&bias_f32),
                _ => Bias::I32(&bias_i32),
            };
            let want = reference::requantize(&acc, c.n, scales, bias, c.activation, &out_params).unwrap();
            for (i, (&g, &w)) in got.iter().zip(&want.q).enumerate() {
                // A function's own error comes to that of the multiplier.
                let mut near = 1e-4;
                if function {
                    let acc = if c.bias == 2 { acc[i] + bias_i32[i % c.n] } else { acc[i] };
                    let scale = f64::from(sa[i / c.n % sa.len()]) * f64::from(sb[i % c.n % sb.len()]);
                    let real = f64::from(acc) * scale + real_bias.map_or(0.0, |b| f64::from(b[i % c.n]));
                    let (y, bound) = ended(c.activation, real, error(i).into());
                    assert!((y / f64::from(out_params.scale) - want.exact[i]).abs() < 1e-6);
                    near += bound / f64::from(out_params.scale);
                }
                let tie = (want.exact[i].fract().abs() - 0.5).abs() < near;
                let off = (i32::from(g) - i32::from(w)).abs();
                assert!(off == 0 || (tie && off == 1), "{c:?} at {i}: {g} is not {w} ({})", want.exact[i]);
            }
        }
        _ => {
            let want = reference::scale_accumulators(&acc, c.n, scales, real_bias, c.activation).unwrap();
            let act = Activation::Identity;
            let before = reference::scale_accumulators(&acc, c.n, scales, real_bias, act).unwrap();
            for (i, (g, w)) in got.to_f32().iter().zip(&want).enumerate() {
                let mut bound = error(i);
                if function {
                    bound = ended(c.activation, before[i].into(), bound.into()).1 as f32;
                }
                if c.out == Element::F16 {
                    bound += w.abs() / 2048.0 + 6e-8;
                }
                assert!((g - w).abs() <= bound, "{c:?} at {i}: {g} is not {w} +- {bound}");
            }
        }
    }
}

fn base(operand: Operand, blocking: Blocking) -> Case {
    Case {
        m: 1,
        n: 1,
        k: 1,
        batch: 1,
        bias: 0,
        activation: Activation::Identity,
        out: Element::I32,
        layout: Layout::Packed,
        operand,
        blocking,
        b_zero: false,
        per_channel: true,
        per_row: false,
        gap: 0,
        extreme: None,
    }
}

const INT8: [Operand; 3] = [Operand::I8Dot, Operand::I8Wide, Operand::I8Int];

fn around_the_tile(blocking: Blocking) {
    let Some(gpu) = gpu() else { return };
    if matches!(blocking, Blocking::Broadcast { .. }) && !has_broadcast(gpu) {
        return;
    }
    let [tm, tn] = blocking.tile().map(|t| t as usize);
    for operand in INT8 {
        let base = base(operand, blocking);
        for (m, n, k) in [
            (0, 3, 16),
            (1, 1, 16),
            (tm - 1, tn - 1, 32),
            (tm, tn, 64),
            (tm + 1, tn + 1, 16),
            (2 * tm + 3, 2 * tn + 3, 48),
        ] {
            check(gpu, Case { m, n, k, ..base });
        }
        check(gpu, Case { m: 521, n: 3, k: 16, ..base });
        // Ragged k, other layouts, zero points everywhere, batches, rows apart.
        let asymmetric = Case { b_zero: true, per_row: true, bias: 2, ..base };
        check(gpu, Case { m: 5, n: 7, k: 0, ..asymmetric });
        check(gpu, Case { m: tm + 2, n: tn + 5, k: 37, gap: 3, ..asymmetric });
        if operand == Operand::I8Int {
            check(gpu, Case { m: 3, n: 6, k: 19, batch: 3, ..asymmetric });
            // With the offset taken into account these pass 2^31 on the way.
            check(gpu, Case { m: 2, n: 5, k: 70_203, extreme: Some(127), ..base });
        } else {
            check(gpu, Case { m: 3, n: 6, k: 19, batch: 3, layout: Layout::Nk, ..asymmetric });
            check(gpu, Case { m: 3, n: 6, k: 19, batch: 2, layout: Layout::Kn, ..asymmetric });
        }
        // Past the first fold of 1024 products, with sums that f32 could not hold.
        check(gpu, Case { m: 2, n: 5, k: 4100, extreme: Some(-128), ..base });
    }
    // The epilogues, which all operands share.
    let base = base(Operand::I8Dot, blocking);
    let clip = Activation::Clip { lo: -9.0, hi: 12.5 };
    check(gpu, Case { m: 4, n: 9, k: 32, out: Element::F32, bias: 1, activation: clip, ..base });
    check(
        gpu,
        Case { m: 4, n: 10, k: 32, out: Element::F16, bias: 1, per_row: true, per_channel: false, ..base },
    );
    check(gpu, Case { m: 9, n: 33, k: 48, out: Element::I8, bias: 1, activation: Activation::Relu, ..base });
    check(gpu, Case { m: 9, n: 34, k: 48, out: Element::I8, bias: 2, activation: clip, ..base });
    check(gpu, Case { m: 9, n: 35, k: 48, out: Element::I8, per_row: true, gap: 2, ..base });
    for (out, activation, bias) in [
        (Element::F32, GELU, 1),
        (Element::F16, HARD_SWISH, 0),
        (Element::I8, HARD_SWISH, 1),
        (Element::I8, GELU, 2),
    ] {
        // Every other one widened, past the first fold.
        let wide = Case { operand: Operand::I8Wide, b_zero: true, ..base };
        let (case, k) = if bias == 1 { (base, 48) } else { (wide, 2100) };
        check(gpu, Case { m: tm + 1, n: 19, k, out, activation, bias, ..case });
    }
}

#[test]
fn broadcast_small() {
    around_the_tile(Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 });
}

#[test]
fn broadcast_large() {
    around_the_tile(Blocking::Broadcast { lanes: 8, groups: 4, quads: 2 });
}

#[test]
fn direct() {
    around_the_tile(Blocking::Direct { lanes: 8, rows: 8, quads: 1 });
}

#[test]
fn tiled() {
    around_the_tile(Blocking::TILED);
}

#[test]
fn parted() {
    let Some(gpu) = gpu() else { return };
    let blocking = Blocking::Parted { lanes: 8, parts: 4, rows: 2, quads: 1 };
    for operand in INT8 {
        let asymmetric = Case { b_zero: true, per_row: true, bias: 2, ..base(operand, blocking) };
        for (m, n, k) in [(1, 31, 64), (2, 33, 16), (3, 32, 80), (7, 67, 37)] {
            check(gpu, Case { m, n, k, ..asymmetric });
        }
        // Past the first fold in each part.
        check(gpu, Case { m: 2, n: 5, k: 8300, extreme: Some(-128), ..base(operand, blocking) });
        check(gpu, Case { m: 3, n: 9, k: 48, out: Element::I8, activation: GELU, ..base(operand, blocking) });
    }
}

#[test]
fn tiled_small() {
    let Some(gpu) = gpu() else { return };
    for operand in INT8 {
        let asymmetric =
            Case { b_zero: true, per_row: true, bias: 2, ..base(operand, Blocking::tiled(32, 32)) };
        for (m, n, k) in [(31, 33, 48), (32, 32, 64), (67, 67, 37)] {
            check(gpu, Case { m, n, k, ..asymmetric });
        }
    }
    check(gpu, Case { m: 129, n: 131, k: 48, ..base(Operand::I8Dot, Blocking::tiled(128, 128)) });
}

/// The tile of [`Blocking::TILED`], its sums in parts.
const fn split(split: u32) -> Blocking {
    Blocking::Tiled { rows: 64, columns: 64, words: 8, thread_rows: 8, thread_quads: 2, split }
}

#[test]
fn sums_in_parts() {
    let Some(gpu) = gpu() else { return };
    for operand in INT8 {
        let tiled = base(operand, split(3));
        let asymmetric = Case { b_zero: true, per_row: true, bias: 2, batch: 2, ..tiled };
        check(gpu, Case { m: 5, n: 67, k: 333, ..asymmetric });
        check(gpu, Case { m: 2, n: 5, k: 4100, extreme: Some(-128), ..tiled });
        check(
            gpu,
            Case { m: 9, n: 35, k: 480, out: Element::I8, bias: 1, activation: Activation::Relu, ..tiled },
        );
    }
}
