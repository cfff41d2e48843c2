//! `quant_params` against [`Scheme::params`], bit for bit.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Guarded, Rng, gpu};
use weighbridge::Error;
use weighbridge::ops::{RangeState, ScaleZeroPoint, ScaleZeroPointBindings};
use weighbridge::quant::{QuantParams, Range, Rule, Scheme};
use weighbridge::tensor::View;

/// Ranges of every magnitude and proportion, and the awkward ones.
fn ranges() -> Vec<Range> {
    let mut rng = Rng(5);
    let mut all = vec![
        Range::new(0.0, 0.0),
        Range::new(-0.0, 0.0),
        Range::new(-1.0, 1.0),
        Range::new(3.0, 5.0),
        Range::new(-5.0, -3.0),
        Range::new(-1e-5, 1e-5),
        Range::new(0.0, 127.5),
        Range::new(-128.0, 127.0),
        Range::new(-0.5, 254.5),
        Range::new(0.0, 1e-30),
        Range::new(-1e-30, 0.0),
        Range::new(-1e38, 1e38),
        Range::new(0.0, f32::MAX),
    ];
    for i in 0..4000 {
        let mut end = || {
            let exponent = 2f32.powi((rng.next() % if i % 2 == 0 { 12 } else { 80 }) as i32 - 40);
            rng.unit() * exponent
        };
        let (a, b) = (end(), end());
        all.push(Range::new(a.min(b), a.max(b)));
        // Quotients that are exact, and just beside it.
        let step = 2f32.powi(i % 40 - 20) * (1 + i % 9) as f32;
        let (lo, hi) = (-(i % 256) as f32 * step, (255 - i % 256) as f32 * step);
        all.push(Range::new(lo, hi));
        all.push(Range::new(lo, f32::from_bits((hi + step).to_bits() ^ (i as u32 & 1))));
        // Zero points at a tie.
        all.push(Range::new(lo - step / 2.0, hi - step / 2.0));
    }
    all
}

#[test]
fn equals_the_cpu_to_the_last_bit() {
    let Some(gpu) = gpu() else { return };
    let ranges = ranges();
    let state: Vec<RangeState> =
        ranges.iter().map(|r| RangeState { min: r.min, max: r.max, flags: 0, batches: 1 }).collect();
    let state = gpu.upload_words(bytemuck::cast_slice(&state)).unwrap();
    let n = ranges.len();
    for scheme in [
        Scheme::int8_affine(),
        Scheme::int8_affine_reduced().with_eps(1.0 / 4096.0),
        Scheme::uint8_affine_reduced(),
        Scheme::int8_symmetric(),
        Scheme::int8_symmetric_narrow(),
        Scheme { symmetric: true, ..Scheme::uint8_affine_reduced() },
        Scheme::per_token_symmetric(),
        Scheme::per_token_affine(),
        Scheme::onnx_dynamic(),
        Scheme::fbgemm_dynamic(false),
        Scheme::fbgemm_dynamic(true),
    ] {
        let out = Guarded::new(gpu, 4 * n);
        let op = ScaleZeroPoint::with_kernels(gpu.kernels(), &scheme).unwrap();
        let bindings =
            ScaleZeroPointBindings { state: View::params(&state, n), params: View::params(&out.buffer, n) };
        let call = op.bind(&bindings).unwrap();
        gpu.submit(|pass| call.record(pass));
        let got: Vec<QuantParams> = bytemuck::pod_collect_to_vec(&out.words(gpu));
        for (got, range) in got.iter().zip(&ranges) {
            // Too wide for f32, so the CPU refuses.
            let Ok(want) = scheme.params(*range) else { continue };
            if scheme.rule == Rule::Fbgemm {
                let ulps = got.scale.to_bits().abs_diff(want.scale.to_bits());
                let zero = got.zero_point.abs_diff(want.zero_point);
                assert!(ulps <= 1 && zero <= 1, "{scheme:?} {range:?}: {got:?} is not {want:?}");
                continue;
            }
            assert_eq!(
                got.scale.to_bits(),
                want.scale.to_bits(),
                "{scheme:?} {range:?}: {got:?} is not {want:?}"
            );
            assert_eq!(got.inv_scale.to_bits(), want.inv_scale.to_bits(), "{scheme:?} {range:?}");
            assert_eq!((got.zero_point, got.limits), (want.zero_point, want.limits), "{scheme:?} {range:?}");
        }
    }
}

#[test]
fn nothing_seen_and_refusals() {
    let Some(gpu) = gpu() else { return };
    let state = gpu.upload_words(&[0x7f80_0000, 0xff80_0000, 1, 0]).unwrap();
    for (scheme, zero_point) in [(Scheme::int8_affine(), 0), (Scheme::uint8_affine_reduced(), -1)] {
        let out = Guarded::new(gpu, 4);
        let op = ScaleZeroPoint::new(gpu.device(), &scheme).unwrap();
        let (state, params) = (View::params(&state, 1), View::params(&out.buffer, 1));
        let call = op.bind(&ScaleZeroPointBindings { state, params }).unwrap();
        gpu.submit(|pass| call.record(pass));
        let want = QuantParams::new(1.0, zero_point, scheme.qmin, scheme.qmax).unwrap();
        assert_eq!(bytemuck::pod_collect_to_vec::<_, QuantParams>(&out.words(gpu)), [want]);
        let error =
            op.bind(&ScaleZeroPointBindings { state, params: View::params(&out.buffer, 3) }).err().unwrap();
        assert_eq!(error.to_string(), "quant_params: 1 ranges, but room for 3 parameters");
    }
    let symmetric = Scheme { symmetric: true, ..Scheme::onnx_dynamic() };
    assert!(matches!(ScaleZeroPoint::new(gpu.device(), &symmetric), Err(Error::Argument { .. })));
}
