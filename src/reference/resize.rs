//! Images, signals and volumes in other sizes.

use crate::error::{Error, Result};
use crate::graph::{Coordinates, Interpolation, Nearest, Resize};
use crate::tensor::{Data, Tensor};
use half::f16;

/// What one place along an axis of a resized tensor is made of: `(1 - weight) x[low] + weight x[high]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// The neighbour below.
    pub low: usize,
    /// The neighbour above; the same for the nearest one.
    pub high: usize,
    /// Of the neighbour above.
    pub weight: f64,
}

/// What each place along an axis of `size` is made of, that was one of `n`. Neighbours outside are the edge.
///
/// A scale that is the rounded quotient of the sizes is taken as the quotient itself.
pub fn resize_taps(
    n: usize,
    size: usize,
    scale: f32,
    coordinates: Coordinates,
    interpolation: Interpolation,
) -> Vec<Tap> {
    if n == 0 {
        return Vec::new();
    }
    let (from, to) = (n as f64, size as f64);
    let quotient = to / from;
    let scale = if quotient as f32 == scale { quotient } else { f64::from(scale) };
    // The length before it was made whole.
    let length = if scale == quotient { to } else { from * scale };
    let place = |i: usize| {
        let i = i as f64;
        let half = (i + 0.5) / scale - 0.5;
        match coordinates {
            Coordinates::HalfPixel => half,
            Coordinates::HalfPixelSymmetric => from / 2.0 * (1.0 - to / length) + half,
            Coordinates::PytorchHalfPixel => {
                if size > 1 {
                    half
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners => {
                if size > 1 {
                    i * (from - 1.0) / (length - 1.0)
                } else {
                    0.0
                }
            }
            Coordinates::Asymmetric => i / scale,
        }
    };
    let inside = |i: f64| i.clamp(0.0, from - 1.0) as usize;
    let tap = |i| {
        let x = place(i);
        let below = x.floor();
        match interpolation {
            Interpolation::Linear => Tap { low: inside(below), high: inside(below + 1.0), weight: x - below },
            Interpolation::Nearest(nearest) => {
                let chosen = match nearest {
                    Nearest::RoundPreferFloor => (x - 0.5).ceil(),
                    Nearest::RoundPreferCeil => (x + 0.5).floor(),
                    Nearest::Floor => below,
                    Nearest::Ceil => x.ceil(),
                };
                Tap { low: inside(chosen), high: inside(chosen), weight: 0.0 }
            }
        }
    };
    (0..size).map(tap).collect()
}

/// Resizes along one axis.
fn along<T: Copy>(
    v: &[T],
    [outer, n, inner]: [usize; 3],
    taps: &[Tap],
    mix: impl Fn(T, T, f64) -> T,
) -> Vec<T> {
    let mut out = Vec::with_capacity(outer * taps.len() * inner);
    for o in 0..outer {
        for tap in taps {
            let [low, high] = [tap.low, tap.high].map(|i| &v[(o * n + i) * inner..][..inner]);
            out.extend(low.iter().zip(high).map(|(&a, &b)| mix(a, b, tap.weight)));
        }
    }
    out
}

/// ONNX's Resize. Linear results are rounded once, at the end: to the nearest float, and to integers towards zero.
///
/// # Errors
/// [`Error::Shape`] where the geometry is not of the tensor's rank, or where something would be made of nothing.
pub fn resize(x: &Tensor, geometry: &Resize) -> Result<Tensor> {
    let Resize { sizes, scales, coordinates, interpolation } = geometry;
    let fits = [sizes.len(), scales.len()] == [x.shape().len(); 2]
        && (!x.is_empty() || sizes.contains(&0))
        && scales.iter().zip(sizes).all(|(s, &n)| s.is_finite() && (*s > 0.0 || n == 0));
    if !fits {
        return Err(Error::Shape {
            op: "resize",
            detail: format!("{:?} to {sizes:?}, scaled by {scales:?}", x.shape()),
        });
    }
    let mut shape = x.shape().to_vec();
    let mut passes = Vec::new();
    for d in 0..shape.len() {
        let n = shape[d];
        if n == sizes[d] && scales[d] == 1.0 {
            continue;
        }
        let taps = resize_taps(n, sizes[d], scales[d], *coordinates, *interpolation);
        let outer: usize = shape[..d].iter().product();
        let inner: usize = shape[d + 1..].iter().product();
        passes.push(([outer, n, inner], taps));
        shape[d] = sizes[d];
    }
    if shape.contains(&0) {
        passes.clear();
    }
    fn same<T: Copy>(v: &[T], passes: &[([usize; 3], Vec<Tap>)]) -> Vec<T> {
        passes.iter().fold(v.to_vec(), |v, (dims, taps)| along(&v, *dims, taps, |a, _, _| a))
    }
    let linear = *interpolation == Interpolation::Linear;
    let mixed = |v: Vec<f64>| {
        let mix = |a: f64, b: f64, w: f64| (1.0 - w) * a + w * b;
        passes.iter().fold(v, |v, (dims, taps)| along(&v, *dims, taps, mix))
    };
    let empty = shape.contains(&0);
    macro_rules! each {
        ($($kind:ident: $up:expr, $down:expr;)*) => {
            match x.data() {
                $(Data::$kind(_) if empty => Data::$kind(Vec::new()),
                Data::$kind(v) if linear => {
                    Data::$kind(mixed(v.iter().map($up).collect()).into_iter().map($down).collect())
                })*
                Data::Bool(_) if linear => {
                    return Err(Error::Element { op: "resize", got: x.element(), expected: "numbers" });
                }
                $(Data::$kind(v) => Data::$kind(same(v, &passes)),)*
                Data::Bool(v) => Data::Bool(if empty { Vec::new() } else { same(v, &passes) }),
            }
        };
    }
    let data = each! {
        F32: |&x| f64::from(x), |x| x as f32;
        F16: |&x| x.to_f64(), f16::from_f64;
        I8: |&x| f64::from(x), |x| x as i8;
        U8: |&x| f64::from(x), |x| x as u8;
        I32: |&x| f64::from(x), |x| x as i32;
        I64: |&x| x as f64, |x| x as i64;
    };
    Tensor::new(shape, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        x: (&[usize], &[f32]),
        sizes: &[usize],
        scales: Option<&[f32]>,
        how: (Coordinates, Interpolation),
        want: &[f32],
    ) {
        let quotients = sizes.iter().zip(x.0).map(|(&a, &b)| a as f32 / b as f32).collect();
        let geometry = Resize {
            sizes: sizes.to_vec(),
            scales: scales.map_or(quotients, <[f32]>::to_vec),
            coordinates: how.0,
            interpolation: how.1,
        };
        let y = resize(&Tensor::f32(x.0, x.1).unwrap(), &geometry).unwrap();
        assert_eq!(y.shape(), sizes);
        for (got, want) in y.as_f32().unwrap().iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{y:?} is not {want:?}");
        }
    }

    /// The values of the ONNX standard's own examples.
    #[test]
    fn resizes_as_the_standard_says() {
        use Coordinates::*;
        use Interpolation::Linear;
        let nearest = |n| Interpolation::Nearest(n);
        let sixteen: Vec<f32> = (1..=16).map(|i| i as f32).collect();
        let image = (&[4, 4][..], &sixteen[..]);
        let square = (&[2, 2][..], &sixteen[..4]);
        let eight = (&[2, 4][..], &sixteen[..8]);
        let floor = nearest(Nearest::RoundPreferFloor);
        check(eight, &[1, 2], Some(&[0.6, 0.6]), (HalfPixel, floor), &[1., 3.]);
        check(image, &[1, 3], None, (HalfPixel, floor), &[5., 6., 8.]);
        check(eight, &[1, 2], Some(&[0.6, 0.6]), (HalfPixel, Linear), &[2.666_666_5, 4.333_333]);
        check(eight, &[1, 2], Some(&[0.6, 0.6]), (AlignCorners, Linear), &[1., 3.142857]);
        check(image, &[3, 1], None, (PytorchHalfPixel, Linear), &[1.6666666, 7., 12.333333]);
        let up = [1., 1.25, 1.75, 2., 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3., 3.25, 3.75, 4.];
        check(square, &[4, 4], None, (HalfPixel, Linear), &up);
        let corners: Vec<f32> =
            (0..16).map(|i| 1. + 2. * (i / 4) as f32 / 3. + (i % 4) as f32 / 3.).collect();
        check(square, &[4, 4], None, (AlignCorners, Linear), &corners);
        let line = (&[4][..], &sixteen[..4]);
        check(line, &[2], Some(&[0.6]), (HalfPixelSymmetric, Linear), &[1.6666667, 3.3333333]);
        let row = (&[2][..], &sixteen[..2]);
        let three = |n| (Asymmetric, nearest(n));
        check(row, &[5], None, three(Nearest::Floor), &[1., 1., 1., 2., 2.]);
        check(row, &[5], None, three(Nearest::Ceil), &[1., 2., 2., 2., 2.]);
        check(row, &[4], None, three(Nearest::RoundPreferFloor), &[1., 1., 2., 2.]);
        check(row, &[4], None, three(Nearest::RoundPreferCeil), &[1., 2., 2., 2.]);
    }

    #[test]
    fn integers_are_cut() {
        let x = Tensor::new([2], Data::I32(vec![-3, 4])).unwrap();
        let geometry = Resize {
            sizes: vec![4],
            scales: vec![2.0],
            coordinates: Coordinates::HalfPixel,
            interpolation: Interpolation::Linear,
        };
        // -3, -1.25, 2.25, 4
        let y = resize(&x, &geometry).unwrap();
        assert_eq!(y, Tensor::new([4], Data::I32(vec![-3, -1, 2, 4])).unwrap());
        let empty = Tensor::new([0], Data::I32(vec![])).unwrap();
        assert!(resize(&empty, &geometry).is_err());
    }
}
