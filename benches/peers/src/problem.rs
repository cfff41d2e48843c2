//! What is computed, on which numbers, and what the result should be in f64.

use half::f16;
use weighbridge::tensor::Element;

/// The operands' type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    /// Stored in f16; where it is summed is for the peer to choose, and for [`Product::check`] to say.
    F16,
    /// Integers with one scale for each operand.
    I8,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::F32 => "f32",
            Kind::F16 => "f16",
            Kind::I8 => "int8",
        }
    }

    pub fn element(self) -> Element {
        match self {
            Kind::F32 => Element::F32,
            Kind::F16 => Element::F16,
            Kind::I8 => Element::I8,
        }
    }
}

/// What a peer gave for a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    F32,
    F16,
    /// The sums of the integers.
    Sums,
    /// In steps of [`Product::out_scale`], -128 to 127.
    Steps,
}

/// `a [m, k]` by `b [k, n]`.
pub struct Product {
    pub shape: [usize; 3],
    pub kind: Kind,
    /// For int8, integers of -127 to 127, both of which are there.
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    /// Real = scale * number, 1 but for int8.
    pub a_scale: f32,
    pub b_scale: f32,
    /// Of a result that is requantized.
    pub out_scale: f32,
    exact: Exact,
}

/// Sums of products in f64, and of their magnitudes, which bound the errors.
pub struct Exact {
    sum: Vec<f64>,
    magnitude: Vec<f64>,
}

impl Exact {
    pub fn new([m, k, n]: [usize; 3], a: &[f32], b: &[f32]) -> Self {
        let (mut sum, mut magnitude) = (vec![0f64; m * n], vec![0f64; m * n]);
        let threads = std::thread::available_parallelism().map_or(1, |t| t.get());
        let rows = m.div_ceil(threads);
        std::thread::scope(|scope| {
            let parts = sum.chunks_mut(rows * n).zip(magnitude.chunks_mut(rows * n));
            for ((sum, magnitude), a) in parts.zip(a.chunks(rows * k)) {
                scope.spawn(move || {
                    let rows = sum.chunks_mut(n).zip(magnitude.chunks_mut(n)).zip(a.chunks(k));
                    for ((sum, magnitude), a) in rows {
                        for (&x, b) in a.iter().zip(b.chunks(n)) {
                            for ((s, t), &y) in sum.iter_mut().zip(magnitude.iter_mut()).zip(b) {
                                let product = f64::from(x) * f64::from(y);
                                *s += product;
                                *t += product.abs();
                            }
                        }
                    }
                });
            }
        });
        Self { sum, magnitude }
    }

    /// Holds all of `got` to `(what it should be, how far it may be off)` by its exact sum and the sum of its magnitudes.
    fn hold(&self, got: &[f32], want: impl Fn(f64, f64) -> (f64, f64)) -> Result<(), String> {
        if got.len() != self.sum.len() {
            return Err(format!("{} results, not {}", got.len(), self.sum.len()));
        }
        let mut wrong = 0;
        let mut first = None;
        for (i, (&y, (&sum, &magnitude))) in got.iter().zip(self.sum.iter().zip(&self.magnitude)).enumerate()
        {
            let (want, bound) = want(sum, magnitude);
            let off = (f64::from(y) - want).abs();
            // A NaN is not within anything.
            if off.is_nan() || off > bound {
                wrong += 1;
                first = first.or(Some(format!("{i} is {y}, not {want} +- {bound:.1e}")));
            }
        }
        first.map_or(Ok(()), |first| Err(format!("{wrong} of {} wrong: {first}", got.len())))
    }

    /// f32 sums of `k` products in any order, rounded in any direction, and `more` roundings.
    pub fn check_f32(&self, got: &[f32], k: usize, more: usize) -> Result<(), String> {
        self.hold(got, |sum, magnitude| (sum, (k + 2 + more) as f64 * f64::from(f32::EPSILON) * magnitude))
    }
}

impl Product {
    pub fn new([m, k, n]: [usize; 3], kind: Kind) -> Self {
        let numbers = |seed, len| {
            let mut v = random(seed, len);
            match kind {
                Kind::F32 => {}
                Kind::F16 => v.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32()),
                Kind::I8 => {
                    v.iter_mut().for_each(|x| *x = (*x * 127.0).round());
                    // A peer that takes its scale from the largest finds ours.
                    v[0] = 127.0;
                }
            }
            v
        };
        let (a, b) = (numbers(1, m * k), numbers(2, k * n));
        let exact = Exact::new([m, k, n], &a, &b);
        let scale = |s| if kind == Kind::I8 { s } else { 1.0 };
        let (a_scale, b_scale) = (scale(0.0078), scale(0.0041));
        // The largest result saturates.
        let largest = exact.sum.iter().fold(1.0, |x: f64, y| x.max(y.abs()));
        let out_scale = (largest * f64::from(a_scale) * f64::from(b_scale) / 130.0) as f32;
        Self { shape: [m, k, n], kind, a, b, a_scale, b_scale, out_scale, exact }
    }

    pub fn name(kind: Kind, [m, k, n]: [usize; 3]) -> String {
        format!("{} {m}x{k}x{n}", kind.name())
    }

    /// The operands as real numbers.
    pub fn reals(&self) -> (Vec<f32>, Vec<f32>) {
        let real = |v: &[f32], scale: f32| v.iter().map(|x| x * scale).collect();
        (real(&self.a, self.a_scale), real(&self.b, self.b_scale))
    }

    /// `b` as `[n, k]`.
    pub fn b_turned(&self) -> Vec<f32> {
        let [_, k, n] = self.shape;
        (0..n * k).map(|i| self.b[i % k * n + i / k]).collect()
    }

    /// Compares all results with f64. What may be said of a result that is right, else what is wrong with it.
    ///
    /// Sums in f32 are within `(k + 2) eps` of the sum of the magnitudes, in any order and rounding (Higham, section
    /// 3.1; WGSL leaves the direction open); integers are exact. An f16 result is within a unit of itself besides. A
    /// peer that sums in f16 is held to that, which is said of it.
    pub fn check(&self, got: &[f32], output: Output) -> Result<String, String> {
        let k = self.shape[1];
        let scale = f64::from(self.a_scale) * f64::from(self.b_scale);
        let eps = f64::from(f32::EPSILON);
        let half = f64::from(f16::EPSILON);
        match (self.kind, output) {
            (_, Output::Sums) => self.exact.hold(got, |sum, _| (sum, 0.0))?,
            // The sum to f32, the product of the scales, and their product.
            (Kind::I8, Output::F32) => {
                self.exact.hold(got, |sum, _| (sum * scale, 4.0 * eps * (sum * scale).abs()))?
            }
            // Half a step, and what four roundings to f32 move 127 steps by near a tie.
            (_, Output::Steps) => {
                let steps = scale / f64::from(self.out_scale);
                self.exact.hold(got, |sum, _| ((sum * steps).clamp(-128.0, 127.0), 0.5 + 1e-4))?
            }
            (_, Output::F32) => self.exact.check_f32(got, k, 0)?,
            (_, Output::F16) => {
                let small = f64::from(f16::MIN_POSITIVE_SUBNORMAL);
                let summed_in = |unit: f64| {
                    let want = |sum: f64, magnitude: f64| {
                        (sum, (k + 2) as f64 * unit * magnitude + half * sum.abs() + small)
                    };
                    self.exact.hold(got, want)
                };
                if summed_in(eps).is_err() {
                    summed_in(half)?;
                    return Ok("sums in f16".into());
                }
            }
        }
        Ok(String::new())
    }
}

/// Numbers of [-1, 1), the same everywhere.
pub fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// 16 M reals.
pub struct Long {
    pub x: Vec<f32>,
    pub min: f32,
    pub max: f32,
}

/// One range for all.
pub const WHOLE: &str = "whole";
/// A range for each row of a square.
pub const ROWS: &str = "by rows";

/// A matrix of [`Long`]'s elements.
pub const SIDE: usize = 4096;

impl Long {
    pub fn new() -> Self {
        let x = random(7, SIDE * SIDE);
        let (min, max) =
            x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), &x| (lo.min(x), hi.max(x)));
        Self { x, min, max }
    }

    pub fn absmax(&self) -> f32 {
        self.max.max(-self.min)
    }

    /// Of each row of a square.
    pub fn row_max(&self) -> Vec<f32> {
        self.x.chunks(SIDE).map(|row| row.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x))).collect()
    }

    /// Compares integers with f64: `x / scale(row) + zero`, half a step, and 1e-4 for the roundings of at most 255 steps in
    /// f32.
    pub fn check_steps(
        &self,
        q: &[f32],
        scale: impl Fn(usize) -> f32,
        zero: f64,
        [lo, hi]: [f64; 2],
    ) -> Result<String, String> {
        if q.len() != self.x.len() {
            return Err(format!("{} results, not {}", q.len(), self.x.len()));
        }
        for (row, (q, x)) in q.chunks(SIDE).zip(self.x.chunks(SIDE)).enumerate() {
            let scale = f64::from(scale(row));
            for (i, (&q, &x)) in q.iter().zip(x).enumerate() {
                let want = f64::from(x) / scale + zero;
                let off = (f64::from(q) - want.clamp(lo, hi)).abs();
                if off.is_nan() || off > 0.5 + 1e-4 {
                    return Err(format!("row {row}, {i} is {q}, not {want}"));
                }
            }
        }
        Ok(String::new())
    }
}

/// Equality, and the first difference.
pub fn same(got: &[f32], want: &[f32]) -> Result<String, String> {
    if got.len() != want.len() {
        return Err(format!("{} results, not {}", got.len(), want.len()));
    }
    let wrong = got.iter().zip(want).filter(|(a, b)| a != b).count();
    match got.iter().zip(want).find(|(a, b)| a != b) {
        None => Ok(String::new()),
        Some((y, x)) => Err(format!("{wrong} of {} wrong: {y}, not {x}", want.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(p: &Product) -> Vec<f32> {
        p.exact.sum.iter().map(|&x| x as f32).collect()
    }

    #[test]
    fn right_results_pass_and_wrong_ones_do_not() {
        let shape = [5, 48, 7];
        let f32s = Product::new(shape, Kind::F32);
        let mut y = sums(&f32s);
        assert_eq!(f32s.check(&y, Output::F32), Ok("".into()));
        y[34] += 1e-3;
        assert!(f32s.check(&y, Output::F32).unwrap_err().starts_with("1 of 35 wrong: 34 is"));
        y[34] = f32::NAN;
        assert!(f32s.check(&y, Output::F32).is_err());
        assert!(f32s.check(&y[1..], Output::F32).is_err());
    }

    #[test]
    fn sums_in_f16_are_told_from_sums_in_f32() {
        let p = Product::new([1, 1024, 8], Kind::F16);
        let mut y: Vec<f32> = sums(&p).into_iter().map(|x| f16::from_f32(x).to_f32()).collect();
        assert_eq!(p.check(&y, Output::F16), Ok("".into()));
        y[3] += 0.3;
        assert_eq!(p.check(&y, Output::F16), Ok("sums in f16".into()));
        y[3] += 1e4;
        assert!(p.check(&y, Output::F16).is_err());
    }

    #[test]
    fn integers_are_exact_and_steps_saturate() {
        let p = Product::new([6, 32, 9], Kind::I8);
        let mut y = sums(&p);
        assert_eq!(p.check(&y, Output::Sums), Ok("".into()));
        let scale = p.a_scale * p.b_scale / p.out_scale;
        let mut steps: Vec<f32> =
            y.iter().map(|y| (y * scale).round_ties_even().clamp(-128.0, 127.0)).collect();
        assert!(steps.iter().any(|s| s.abs() >= 127.0), "nothing saturates");
        assert_eq!(p.check(&steps, Output::Steps), Ok("".into()));
        y[0] += 1.0;
        steps[0] += 1.0;
        assert!(p.check(&y, Output::Sums).is_err());
        assert!(p.check(&steps, Output::Steps).is_err());
    }

    #[test]
    fn one_wrong_step_of_16_m_is_found() {
        let x = Long::new();
        let scale = x.absmax() / 127.0;
        let mut q: Vec<f32> = x.x.iter().map(|x| (x / scale).round_ties_even()).collect();
        assert_eq!(x.check_steps(&q, |_| scale, 0.0, [-128.0, 127.0]), Ok("".into()));
        q[SIDE * SIDE - 1] += 1.0;
        assert!(x.check_steps(&q, |_| scale, 0.0, [-128.0, 127.0]).is_err());
    }
}
