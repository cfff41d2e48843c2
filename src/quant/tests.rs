use super::*;
use proptest::prelude::*;

const SCHEMES: [Scheme; 11] = [
    Scheme::int8_affine(),
    Scheme::int8_affine_reduced(),
    Scheme::int8_symmetric(),
    Scheme::int8_symmetric_narrow(),
    Scheme::int8_symmetric_reduced(),
    Scheme::uint8_affine_reduced(),
    Scheme::per_token_symmetric(),
    Scheme::per_token_affine(),
    Scheme::fbgemm_dynamic(false),
    Scheme::fbgemm_dynamic(true),
    Scheme::onnx_dynamic(),
];

#[test]
fn limits_survive_packing() {
    for (qmin, qmax) in [(-128, 127), (-127, 127), (-64, 63), (-128, -1), (0, 127)] {
        let p = QuantParams::new(0.5, qmin, qmin, qmax).unwrap();
        assert_eq!((p.qmin(), p.qmax()), (qmin, qmax));
    }
    let d = QuantParams::default();
    assert_eq!((d.scale, d.inv_scale, d.zero_point, d.qmin(), d.qmax()), (1.0, 1.0, 0, -128, 127));
}

#[test]
fn the_divisor_tells_the_symmetric_schemes_apart() {
    let range = Range::new(-1.0, 0.5);
    let scale = |s: Scheme| s.params(range).unwrap().scale;
    assert_eq!(scale(Scheme::int8_symmetric()), 1.0 / 127.5);
    assert_eq!(scale(Scheme::int8_symmetric_narrow()), 1.0 / 127.0);
    assert_eq!(scale(Scheme::int8_symmetric_reduced()), 1.0 / 63.5);
    assert_eq!(scale(Scheme::per_token_symmetric()), 1.0 / 127.0);
}

#[test]
fn an_all_zero_range_has_the_scale_of_its_system() {
    let zero = Range::new(0.0, 0.0);
    let of = |s: Scheme| s.params(zero).map(|p| (p.scale, p.zero_point)).unwrap();
    assert_eq!(of(Scheme::int8_affine()), (f32::EPSILON, -128));
    assert_eq!(of(Scheme::int8_symmetric()), (f32::EPSILON, 0));
    assert_eq!(of(Scheme::fbgemm_dynamic(false)), (0.1, -128));
    assert_eq!(of(Scheme::onnx_dynamic()), (1.0, -128));
    assert_eq!(of(Scheme::per_token_symmetric()), (1e-5 / 127.0, 0));
}

#[test]
fn an_unsigned_symmetric_zero_point_is_the_middle() {
    let scheme = Scheme { symmetric: true, ..Scheme::uint8_affine_reduced() };
    assert_eq!(scheme.params(Range::new(-1.0, 1.0)).unwrap().zero_point + 128, 63);
}

#[test]
fn what_is_refused_is_refused_with_its_numbers() {
    let bad = [
        Range::new(f32::NAN, 1.0),
        Range::new(0.0, f32::NAN),
        Range::new(0.0, f32::INFINITY),
        Range::new(2.5, 1.5),
        Range::EMPTY,
    ];
    for scheme in SCHEMES {
        for range in bad {
            assert!(scheme.params(range).is_err(), "{scheme:?} {range:?}");
        }
    }
    let message = |r: crate::Result<QuantParams>| r.unwrap_err().to_string();
    assert!(message(Scheme::int8_affine().params(Range::new(2.5, 1.5))).contains("2.5..1.5"));
    assert!(message(Scheme::int8_affine().params(Range::new(-3e38, 3e38))).contains("inf"));
    let symmetric = Scheme { symmetric: true, ..Scheme::onnx_dynamic() };
    assert!(message(symmetric.params(Range::new(0.0, 1.0))).contains("affine only"));
    let wide = Scheme { qmax: 255, ..Scheme::int8_affine() };
    assert!(message(wide.params(Range::new(0.0, 1.0))).contains("255"));
    assert!(message(QuantParams::new(0.0, 0, -128, 127)).contains("scale 0"));
    assert!(message(QuantParams::new(1e-40, 0, -128, 127)).contains("reciprocal inf"));
    assert!(message(QuantParams::new(1.0, 128, -128, 127)).contains("128 is outside"));
}

#[test]
fn a_nan_in_a_range_stays() {
    let nan = Range::new(f32::NAN, f32::NAN);
    assert!(!nan.union(Range::new(0.0, 1.0)).is_valid());
    assert!(!Range::new(0.0, 1.0).union(nan).is_valid());
    assert!(!nan.including_zero().is_valid());
}

#[test]
fn observers_put_batches_together() {
    let batches = [Range::new(-1.0, 1.0), Range::EMPTY, Range::new(0.0, 3.0)];
    let run = |observer| {
        let mut a = Accumulator::new(observer, 1).unwrap();
        assert!(a.ranges()[0].is_empty());
        for b in batches {
            a.observe(&[b]).unwrap();
        }
        a
    };
    assert_eq!(run(Observer::MinMax).ranges(), [Range::new(-1.0, 3.0)]);
    let average = run(Observer::moving_average());
    assert_eq!(average.ranges(), [Range::new(-1.0 + 0.01, 1.0 + 0.01 * 2.0)]);
    assert!(average.clone().merge(&average).is_err());
    assert!(Accumulator::new(Observer::MovingAverage { constant: 1.5 }, 1).is_err());
    let mut two = Accumulator::new(Observer::MinMax, 2).unwrap();
    assert!(two.observe(&[Range::new(0.0, 1.0)]).is_err());
}

fn range() -> impl Strategy<Value = Range> {
    (-1e6f32..1e6, -1e6f32..1e6, -12i32..1).prop_map(|(a, b, e)| {
        let k = 10f32.powi(e);
        Range::new(a.min(b) * k, a.max(b) * k)
    })
}

proptest! {
    #[test]
    fn the_zero_point_is_within_the_limits(range in range(), index in 0..SCHEMES.len()) {
        let scheme = SCHEMES[index];
        let p = scheme.params(range).unwrap();
        prop_assert!((p.qmin()..=p.qmax()).contains(&p.zero_point));
        prop_assert_eq!((p.qmin(), p.qmax()), (scheme.qmin, scheme.qmax));
        prop_assert_eq!(p.inv_scale, 1.0 / p.scale);
    }

    #[test]
    fn union_is_associative_and_commutative(a in range(), b in range(), c in range()) {
        prop_assert_eq!(a.union(b).union(c), a.union(b.union(c)));
        prop_assert_eq!(a.union(b), b.union(a));
        prop_assert_eq!(a.union(Range::EMPTY), a);
    }

    #[test]
    fn merging_accumulators_is_observing_all(ranges in prop::collection::vec(range(), 0..8), cut in 0usize..8) {
        let run = |ranges: &[Range]| {
            let mut a = Accumulator::new(Observer::MinMax, 1).unwrap();
            for &r in ranges { a.observe(&[r]).unwrap(); }
            a
        };
        let cut = cut.min(ranges.len());
        let mut left = run(&ranges[..cut]);
        left.merge(&run(&ranges[cut..])).unwrap();
        prop_assert_eq!(left, run(&ranges));
    }
}
