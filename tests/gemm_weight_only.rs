//! `gemm` of floats by int8 weights against the reference: both floats, every blocking, scales for columns and groups.

#[path = "common/ending.rs"]
mod ending;
#[path = "common/gpu.rs"]
mod gpu;

use ending::{GELU, ended_in};
use gpu::{Guarded, Rng, gpu, has_broadcast, upload_pitched};
use half::f16;
use weighbridge::graph::Activation;
use weighbridge::ops::{
    Blocking, GemmWeightOnly, GemmWeightOnlyBindings, GemmWeightOnlyDescriptor, PackedWeightOnly,
};
use weighbridge::quant::QuantParams;
use weighbridge::reference::{self, Storage};
use weighbridge::tensor::{Data, Element, Tensor, View};

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    group: Option<usize>,
    element: Element,
    out: Element,
    activation: Activation,
    bias: bool,
    blocking: Blocking,
    gap: usize,
}

fn check(gpu: &weighbridge::Gpu, c: Case) {
    let mut rng = Rng((c.m * 31 + c.n * 7 + c.k) as u64);
    let a = rng.f32s(c.m * c.k);
    let a = match c.element {
        Element::F16 => Data::F16(a.iter().map(|&x| f16::from_f32(x)).collect()),
        _ => Data::F32(a),
    };
    let a = Tensor::new([c.m, c.k], a).unwrap();
    let q = rng.i8s(c.n * c.k);
    let weights = Tensor::new([c.n, c.k], Data::I8(q.clone())).unwrap();
    let groups = c.group.map_or(1, |g| c.k / g);
    let params: Vec<QuantParams> = (0..c.n * groups)
        .map(|_| QuantParams::new(0.001 + 0.01 * rng.unit().abs(), 0, -128, 127).unwrap())
        .collect();
    let bias = rng.f32s(c.n);
    let packed = PackedWeightOnly::new(&weights, &params, c.group, c.element).unwrap();
    let columns = c.n.next_multiple_of(4);
    let (a_pitch, out_pitch) = (c.element.words(c.k) + c.gap, c.out.words(c.n) + c.gap);
    let a_buffer = upload_pitched(gpu, &a, a_pitch);
    let b_buffer = gpu.upload_words(&packed.words).unwrap();
    let scales = gpu.upload(&Tensor::f32([groups, columns], packed.scales.clone()).unwrap()).unwrap();
    let bias_buffer = gpu.upload(&Tensor::f32([c.n], bias.clone()).unwrap()).unwrap();
    let out = Guarded::new(gpu, c.m * out_pitch);
    let d = GemmWeightOnlyDescriptor {
        element: c.element,
        out: c.out,
        group: c.group,
        activation: c.activation,
        blocking: Some(c.blocking),
    };
    let call = GemmWeightOnly::with_kernels(gpu.kernels(), &d)
        .unwrap()
        .bind(&GemmWeightOnlyBindings {
            out_params: None,
            a: View::new(&a_buffer, c.element, c.m, c.k).with_pitch(a_pitch),
            b: View::new(&b_buffer, Element::I32, packed.rows, packed.pitch),
            scales: View::new(&scales, Element::F32, groups, columns),
            bias: c.bias.then(|| View::new(&bias_buffer, Element::F32, 1, c.n)),
            out: View::new(&out.buffer, c.out, c.m, c.n).with_pitch(out_pitch),
        })
        .unwrap_or_else(|e| panic!("{c:?}: {e}"));
    gpu.submit(|pass| call.record(pass));
    let got = out.matrix(gpu, c.out, c.m, c.n, out_pitch).to_f32();
    let scales: Vec<f32> = params.iter().map(|p| p.scale).collect();
    let function = matches!(c.activation, Activation::Function(_));
    let args = reference::GemmWeightOnly {
        m: c.m,
        n: c.n,
        k: c.k,
        a: &a.to_f32(),
        b: &q,
        scales: &scales,
        group: c.group.unwrap_or(c.k),
        bias: c.bias.then_some(&bias),
        activation: if function { Activation::Identity } else { c.activation },
    };
    let storage = if c.out == Element::F16 { Storage::F16 } else { Storage::F32 };
    let inner = if function { Storage::F32 } else { storage };
    let want = reference::gemm_weight_only(&args).unwrap();
    let bound = reference::gemm_weight_only_bound(&args, inner).unwrap();
    for (i, &y) in got.iter().enumerate() {
        let (mut want, mut bound) = (want[i], bound[i]);
        if function {
            (want, bound) = ended_in(storage, c.activation, want, bound);
        }
        assert!((f64::from(y) - want).abs() <= bound, "{c:?} at {i}: {y} is not {want} +- {bound}");
    }
}

fn around_the_tile(blocking: Blocking) {
    let Some(gpu) = gpu() else { return };
    if matches!(blocking, Blocking::Broadcast { .. }) && !has_broadcast(gpu) {
        return;
    }
    let [tm, tn] = blocking.tile().map(|t| t as usize);
    for (element, other) in [(Element::F32, Element::F16), (Element::F16, Element::F32)] {
        let base = Case {
            m: 1,
            n: 1,
            k: 1,
            group: None,
            element,
            out: element,
            activation: Activation::Identity,
            bias: true,
            blocking,
            gap: 0,
        };
        for (m, n, k, group) in [
            (0, 3, 8, None),
            (1, 1, 32, None),
            (tm - 1, tn - 1, 40, None),
            (tm, tn, 64, Some(32)),
            (tm + 1, tn + 1, 8, None),
            (2 * tm + 3, 2 * tn + 3, 96, Some(32)),
            (513, 5, 8, None),
            (1, tn + 2, 256, Some(128)),
            (3, 6, 32, Some(32)),
        ] {
            check(gpu, Case { m, n, k, group, ..base });
        }
        // Ragged k, rows apart, the other output.
        let clip = Activation::Clip { lo: -0.5, hi: 0.25 };
        check(gpu, Case { m: tm + 2, n: tn + 5, k: 37, gap: 3, activation: clip, ..base });
        check(gpu, Case { m: 9, n: 14, k: 37, out: other, bias: false, ..base });
        check(
            gpu,
            Case { m: 9, n: 14, k: 192, group: Some(64), out: other, gap: 1, activation: GELU, ..base },
        );
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
fn direct_one_row() {
    around_the_tile(Blocking::Direct { lanes: 8, rows: 1, quads: 4 });
}

#[test]
fn tiled() {
    around_the_tile(Blocking::TILED);
}

#[test]
fn parted() {
    let Some(gpu) = gpu() else { return };
    for (element, k, group) in
        [(Element::F32, 416, Some(32)), (Element::F16, 96, None), (Element::F16, 640, Some(64))]
    {
        let base = Case {
            m: 3,
            n: 37,
            k,
            group,
            element,
            out: Element::F32,
            activation: Activation::Relu,
            bias: true,
            blocking: Blocking::Parted { lanes: 8, parts: 4, rows: 2, quads: 1 },
            gap: 0,
        };
        check(gpu, base);
        check(gpu, Case { m: 33, n: 35, blocking: Blocking::tiled(32, 32), ..base });
    }
}

#[test]
fn what_it_refuses() {
    let weights = Tensor::new([2, 48], Data::I8(vec![1; 96])).unwrap();
    let params = |zero, n| vec![QuantParams::new(0.5, zero, -128, 127).unwrap(); n];
    let pack = |p: &[QuantParams], group| PackedWeightOnly::new(&weights, p, group, Element::F32);
    assert!(pack(&params(0, 2), None).is_ok());
    let says = |e: weighbridge::Result<PackedWeightOnly>, what: &str| {
        let e = e.unwrap_err().to_string();
        assert!(e.contains(what), "{e}");
    };
    says(pack(&params(3, 2), None), "a zero point is 3");
    says(pack(&params(0, 3), None), "3 sets of parameters for 2 columns");
    says(pack(&params(0, 4), Some(32)), "groups of 32 along a k of 48");
    says(pack(&params(0, 6), Some(16)), "groups of 16");
}
