use super::*;
use crate::graph::{Activation, Window};
use crate::quant::{QuantParams, Range, Scheme};
use ::half::f16;
use proptest::prelude::*;

fn params(scale: f32, zero_point: i32) -> QuantParams {
    QuantParams::new(scale, zero_point, -128, 127).unwrap()
}

const WINDOW: Window = Window {
    kernel: [3, 3],
    stride: [1, 1],
    pad_begin: [1, 1],
    pad_end: [1, 1],
    dilation: [1, 1],
    ceil: false,
};

#[test]
fn minmax_leaves_out_and_flags_what_is_not_finite() {
    let x = [1.0, f32::NAN, -2.0, f32::INFINITY, f32::NAN, f32::NEG_INFINITY];
    let found = minmax(&x, Axis::rows(3, 2)).unwrap();
    assert_eq!(found[0], Extrema { range: Range::new(1.0, 1.0), flags: Extrema::NAN });
    assert_eq!(found[1], Extrema { range: Range::new(-2.0, -2.0), flags: Extrema::INF });
    assert!(found[2].range.is_empty());
    assert_eq!(found[2].flags, Extrema::NAN | Extrema::INF);
    // The channels of the middle axis.
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let ranges: Vec<_> = minmax(&x, Axis::of(&[2, 3, 2], 1).unwrap()).unwrap();
    assert_eq!(
        ranges.iter().map(|e| (e.range.min, e.range.max)).collect::<Vec<_>>(),
        [(0.0, 7.0), (2.0, 9.0), (4.0, 11.0)]
    );
    assert!(minmax(&[], Axis::tensor(0)).unwrap()[0].range.is_empty());
    assert!(minmax(&x, Axis::tensor(5)).is_err());
    assert!(Axis::of(&[2], 1).is_err());
}

#[test]
fn quantize_saturates_and_makes_nan_a_zero() {
    let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e38, -1e38, 1e9, -1e9, 3.4e38];
    for z in [-128, -3, 0, 127] {
        let q = quantize(&x, Axis::tensor(x.len()), &[params(0.125, z)]).unwrap();
        assert_eq!(q, [127, -128, z as i8, 127, -128, 127, -128, 127]);
    }
    let narrow = QuantParams::new(1.0, 0, -127, 127).unwrap();
    assert_eq!(quantize(&[-1e6, -127.6], Axis::tensor(2), &[narrow]).unwrap(), [-127, -127]);
}

#[test]
fn the_zero_point_is_added_after_rounding() {
    let x = [0.5, 1.5, -0.5, -1.5];
    assert_eq!(quantize(&x, Axis::tensor(4), &[params(1.0, 3)]).unwrap(), [3, 5, 3, 1]);
}

#[test]
fn the_reciprocal_and_the_division_differ_near_ties() {
    // FBGEMM's own example.
    let p = params(0.002_148_548_6, 0);
    let x = [0.273_939_94];
    assert_eq!(quantize_divide(&x, Axis::tensor(1), &[p]).unwrap(), [127]);
    assert_eq!((x[0] * p.inv_scale).round_ties_even(), 128.0);
}

#[test]
fn f16_saturates_and_counts() {
    let (half, clamped) = to_f16_saturating(&[1e6, -65505.0, 65504.0, f32::NEG_INFINITY, f32::NAN, 1.0]);
    assert_eq!(clamped, 3);
    assert_eq!(&half[..4], [f16::MAX, f16::MIN, f16::MAX, f16::MIN]);
    assert!(half[4].is_nan());
    assert_eq!(to_f16(&[65519.99, 65520.0, 2.0f32.powi(-25)])[..], [f16::MAX, f16::INFINITY, f16::ZERO]);
}

#[test]
fn gemm_has_both_layouts_batches_bias_and_activation() {
    let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1.0, -2.0];
    let args = Gemm {
        batch: 2,
        m: 2,
        n: 1,
        k: 2,
        a: &a,
        b: &[10.0, 1.0],
        layout: BLayout::Nk,
        bias: Some(&[0.5]),
        activation: Activation::Relu,
    };
    assert_eq!(gemm(&args).unwrap(), [12.5, 34.5, 56.5, 0.0]);
    let separate = Gemm { b: &[10.0, 1.0, 1.0, 0.0], ..args };
    assert_eq!(gemm(&separate).unwrap(), [12.5, 34.5, 5.5, 0.0]);
    let kn = Gemm {
        batch: 1,
        m: 1,
        n: 2,
        layout: BLayout::Kn,
        a: &[1.0, 2.0],
        b: &[1.0, 2.0, 3.0, 4.0],
        bias: None,
        ..args
    };
    assert_eq!(gemm(&kn).unwrap(), [7.0, 10.0]);
    assert_eq!(gemm(&Gemm { layout: BLayout::Nk, ..kn }).unwrap(), [5.0, 11.0]);
    let bound = gemm_bound(&kn, Storage::F32).unwrap();
    assert!((bound[0] - 4.0 * f64::from(f32::EPSILON) * 7.0).abs() < 1e-12);
    assert!(gemm_bound(&kn, Storage::F16).unwrap()[0] > 7.0 / 1024.0);
    assert!(gemm(&Gemm { k: 3, ..kn }).unwrap_err().to_string().contains("[1, 1, 3]"));
    // Nothing to add up: the bias alone.
    let empty = Gemm { k: 0, a: &[], b: &[], bias: Some(&[1.0, 2.0]), ..kn };
    assert_eq!(gemm(&empty).unwrap(), [1.0, 2.0]);
}

#[test]
fn gemm_i8_takes_zero_points_of_rows_and_columns() {
    let args = GemmI8 {
        batch: 1,
        m: 2,
        n: 2,
        k: 2,
        a: &[1, 2, 3, 4],
        b: &[1, 0, 0, 1],
        layout: BLayout::Nk,
        a_zero_point: &[0],
        b_zero_point: &[0],
    };
    assert_eq!(gemm_i8(&args).unwrap(), [1, 2, 3, 4]);
    assert_eq!(gemm_i8(&GemmI8 { a_zero_point: &[1, 3], ..args }).unwrap(), [0, 1, 0, 1]);
    assert_eq!(gemm_i8(&GemmI8 { b_zero_point: &[0, 1], ..args }).unwrap(), [1, -1, 3, -3]);
    assert!(gemm_i8(&GemmI8 { a_zero_point: &[0; 3], ..args }).is_err());
    assert!(gemm_i8(&GemmI8 { a_zero_point: &[], ..args }).is_err());
    let long = vec![-128i8; 131_072];
    let over = GemmI8 { m: 1, n: 1, k: long.len(), a: &long, b: &long, ..args };
    assert!(gemm_i8(&over).unwrap_err().to_string().contains("2147483648"));
}

#[test]
fn requantize_clamps_to_the_activation() {
    let out = params(0.5, -28);
    assert_eq!(activation_limits(Activation::Identity, &out), (-128, 127));
    assert_eq!(activation_limits(Activation::Relu, &out), (-28, 127));
    assert_eq!(activation_limits(Activation::Clip { lo: 0.0, hi: 6.0 }, &out), (-28, -16));
    let inf = f32::INFINITY;
    assert_eq!(activation_limits(Activation::Clip { lo: -inf, hi: inf }, &out), (-128, 127));
    let scales = Scales { a: &[0.25], b: &[1.0, 2.0] };
    let acc = [3, -100, i32::MAX, 8];
    let r = requantize(&acc, 2, scales, Bias::F32(&[0.25, 0.0]), Activation::Relu, &out).unwrap();
    assert_eq!(r.exact[..2], [2.0, -100.0]);
    assert_eq!(r.q, [-26, -28, 127, -20]);
    let r = requantize(&acc[..2], 2, scales, Bias::I32(&[1, 1]), Activation::Identity, &out).unwrap();
    assert_eq!(r.q, [-26, -127]);
    let over = requantize(&acc[2..], 2, scales, Bias::I32(&[1, 1]), Activation::Identity, &out);
    assert!(over.unwrap_err().to_string().contains("2147483647"));
    assert!(requantize(&acc[..3], 2, scales, Bias::None, Activation::Identity, &out).is_err());
    let real = scale_accumulators(&acc[..2], 2, scales, Some(&[1.0, 1.0]), Activation::Relu).unwrap();
    assert_eq!(real, [1.75, 0.0]);
    assert!(scale_accumulators(&[], 0, scales, None, Activation::Identity).is_err());
}

#[test]
fn conv_pads_with_real_zero() {
    let shape = ConvShape { batch: 1, image: [2, 2], channels: 1, outputs: 1, groups: 1, window: WINDOW };
    let sum = Conv {
        shape,
        x: &[1.0, 2.0, 3.0, 4.0],
        weight: &[1.0; 9],
        bias: None,
        activation: Activation::Identity,
    };
    assert_eq!(conv2d(&sum).unwrap(), [10.0; 4]);
    assert!(conv2d_bound(&sum, Storage::F32).unwrap()[0] > 0.0);
    let i8 = ConvI8 { shape, x: &[6, 7, 8, 9], weight: &[3; 9], x_zero_point: 5, weight_zero_point: &[2] };
    assert_eq!(conv2d_i8(&i8).unwrap(), [10; 4]);
    let depthwise = ConvShape {
        channels: 2,
        outputs: 2,
        groups: 2,
        window: Window { kernel: [1, 1], pad_begin: [0; 2], pad_end: [0; 2], ..WINDOW },
        image: [1, 2],
        ..shape
    };
    let args = Conv {
        shape: depthwise,
        x: &[1.0, 2.0, 3.0, 4.0],
        weight: &[10.0, 100.0],
        bias: Some(&[0.0, 1.0]),
        ..sum
    };
    assert_eq!(conv2d(&args).unwrap(), [10.0, 201.0, 30.0, 401.0]);
    assert!(conv2d(&Conv { shape: ConvShape { groups: 0, ..shape }, ..sum }).is_err());
    assert!(conv2d(&Conv { shape: ConvShape { groups: 2, ..shape }, ..sum }).is_err());
    let stuck = Window { stride: [0, 1], ..WINDOW };
    assert!(conv2d(&Conv { shape: ConvShape { window: stuck, ..shape }, ..sum }).is_err());
}

#[test]
fn ceil_counts_no_window_that_starts_in_the_end_padding() {
    let window = Window { kernel: [1, 1], stride: [2, 2], pad_begin: [0; 2], pad_end: [0; 2], ..WINDOW };
    assert_eq!(Window { ceil: true, ..window }.out_size([2, 3]).unwrap(), [1, 2]);
    let wide =
        Window { kernel: [3, 3], stride: [3, 3], pad_begin: [1; 2], pad_end: [1; 2], ceil: true, ..window };
    // ONNX `averagepool_2d_ceil_last_window_starts_on_pad`.
    assert_eq!(wide.out_size([2, 2]).unwrap(), [1, 1]);
    assert_eq!(
        Window { stride: [2, 2], pad_begin: [0; 2], pad_end: [0; 2], ..wide }.out_size([4, 4]).unwrap(),
        [2, 2]
    );
    assert!(Window { kernel: [9, 1], ..window }.out_size([4, 4]).unwrap_err().to_string().contains('9'));
}

#[test]
fn pools() {
    let x: Vec<f32> = (1..=16).map(|i| i as f32).collect();
    let window = Window { stride: [2, 2], pad_begin: [0; 2], pad_end: [0; 2], ceil: true, ..WINDOW };
    let pool = Pool { batch: 1, image: [4, 4], channels: 1, window };
    // ONNX `maxpool_2d_ceil` and `averagepool_2d_ceil`.
    assert_eq!(max_pool(&x, &pool).unwrap(), [11.0, 12.0, 15.0, 16.0]);
    assert_eq!(average_pool(&x, &pool, false).unwrap(), [6.0, 7.5, 12.0, 13.5]);
    // What overhangs is not padding.
    assert_eq!(average_pool(&x, &pool, true).unwrap(), [6.0, 7.5, 12.0, 13.5]);
    let padded = Pool { window: WINDOW, image: [2, 2], ..pool };
    assert_eq!(average_pool(&x[..4], &padded, true).unwrap(), [10.0 / 9.0; 4]);
    assert_eq!(average_pool(&x[..4], &padded, false).unwrap(), [2.5; 4]);
    assert_eq!(max_pool_i8(&[-5, -6, -7, -8], &padded).unwrap(), [-5; 4]);
    assert_eq!(global_average_pool(&x[..8], 1, [2, 2], 2).unwrap(), [4.0, 5.0]);
}

#[test]
fn add_broadcasts() {
    let identity = Activation::Identity;
    let (y, shape) = add((&[1.0, 2.0], &[2, 1]), (&[10.0, 20.0, 30.0], &[3]), identity).unwrap();
    assert_eq!(shape, [2, 3]);
    assert_eq!(y, [11.0, 21.0, 31.0, 12.0, 22.0, 32.0]);
    let (y, shape) = add((&[1.0], &[]), (&[], &[0, 2]), identity).unwrap();
    assert!(y.is_empty());
    assert_eq!(shape, [0, 2]);
    let clip = Activation::Clip { lo: 0.0, hi: 6.0 };
    assert_eq!(add((&[5.0, -5.0], &[2]), (&[4.0], &[1]), clip).unwrap().0, [6.0, 0.0]);
    assert!(add((&[1.0, 2.0], &[2]), (&[1.0; 3], &[3]), identity).is_err());
    assert_eq!(activate(&[-1.0, 7.0], Activation::Relu), [0.0, 7.0]);
}

proptest! {
    #[test]
    fn a_round_trip_is_off_by_half_a_step(
        lo in -100f32..0.0, width in 1e-3f32..100.0, at in prop::collection::vec(0f32..=1.0, 1..50), symmetric: bool,
    ) {
        let range = Range::new(lo, lo + width);
        let scheme = if symmetric { Scheme::int8_symmetric_narrow() } else { Scheme::int8_affine() };
        let p = scheme.params(range).unwrap();
        let x: Vec<f32> = at.iter().map(|t| range.min + t * (range.max - range.min)).collect();
        let axis = Axis::tensor(x.len());
        let back = dequantize(&quantize(&x, axis, &[p]).unwrap(), axis, &[p]).unwrap();
        for (x, y) in x.iter().zip(back) {
            // The affine zero point is itself rounded, so an end of the range may be another half a step out.
            let slack = if symmetric { 0.5 } else { 1.0 };
            let bound = p.scale * slack * (1.0 + 1e-4);
            prop_assert!((x - y).abs() <= bound, "{x} {y} {p:?}");
            // Inside, it is half a step.
            let inside = (p.qmin() - p.zero_point + 1) as f32 * p.scale < *x && *x < (p.qmax() - p.zero_point - 1) as f32 * p.scale;
            prop_assert!(!inside || (x - y).abs() <= p.scale * 0.5 * (1.0 + 1e-4));
        }
    }

    #[test]
    fn rows_are_quantized_as_if_alone(x in prop::collection::vec(-10f32..10.0, 12), z in -128i32..=127) {
        let p: Vec<_> = (1..=3).map(|i| params(0.1 * i as f32, z)).collect();
        let all = quantize(&x, Axis::rows(3, 4), &p).unwrap();
        for (row, p) in p.iter().enumerate() {
            let alone = quantize(&x[row * 4..][..4], Axis::tensor(4), &[*p]).unwrap();
            prop_assert_eq!(&all[row * 4..][..4], &alone[..]);
        }
    }
}
