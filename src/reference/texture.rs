//! Textures as tensors, and back.

use super::check_len;
use crate::error::Result;
use crate::tensor::{Pixels, Srgb};

/// f32's unit of rounding, whichever way.
const UNIT: f64 = 1.0 / 8_388_608.0;
/// What a device may flush to zero.
const TINY: f64 = 1.2e-38;

/// A value, and how far an f32 kernel's may be from it.
#[derive(Clone, Copy, Default)]
struct Near {
    value: f64,
    error: f64,
}

/// `x^exponent` of a positive number, as `exp2(exponent * log2(x))` in f32: WGSL allows log2 3 units in the last place,
/// or 2^-21 between 1/2 and 2, and exp2 of `t` 3 + 2 |t| units. `x` has been rounded `roundings` times.
fn power(x: f64, roundings: f64, exponent: f64) -> Near {
    let value = x.powf(exponent);
    let log = x.log2();
    let t = exponent * log;
    let of_log = (3.0 * UNIT * log.abs()).max(1.0 / 2_097_152.0);
    let relative = exponent * roundings * UNIT
        + std::f64::consts::LN_2 * (exponent * of_log + 2.0 * UNIT * t.abs())
        + (3.0 + 2.0 * t.abs()) * UNIT;
    Near { value, error: value * relative }
}

/// sRGB's curve of one colour that is off by `x.error`, as [`Srgb`] says it.
fn transfer(srgb: Srgb, x: Near) -> Near {
    let a = x.value.abs();
    // The curve is steepest, within what it may be off, at its end there.
    let steepest = a + x.error;
    let near = match srgb {
        Srgb::Keep => return x,
        Srgb::Decode if a <= f64::from(0.04045f32) => {
            let value = a / 12.92;
            Near { value, error: 2.0 * UNIT * value + x.error / 12.92 }
        }
        Srgb::Decode => {
            // A sum and a product, each with a rounded constant.
            let near = power((a + 0.055) / 1.055, 4.0, 2.4);
            let slope = 2.4 / 1.055 * ((steepest + 0.055) / 1.055).powf(1.4);
            Near { error: near.error + slope * x.error, ..near }
        }
        Srgb::Encode if a <= f64::from(0.0031308f32) => {
            let value = 12.92 * a;
            Near { value, error: 2.0 * UNIT * value + 12.92 * x.error }
        }
        Srgb::Encode => {
            let near = power(a, 0.0, 1.0 / 2.4);
            let value = 1.055 * near.value - 0.055;
            // The constant 1 / 2.4 is rounded, too: that moves t by |t| units.
            let rounding = UNIT * (3.0 * near.value + a.log2().abs() * near.value + value.abs());
            Near { value, error: 1.055 * near.error + rounding + 12.92 * x.error }
        }
    };
    // Where what is off decides which of the two curves is taken, they are this far apart at most.
    let seam = if x.error > 0.0 { 1e-7 } else { 0.0 };
    Near { value: near.value.copysign(x.value), error: near.error + seam + TINY }
}

/// `n` places become `size`: for each, its two neighbours and the weight of the second.
fn between(i: usize, size: usize, n: usize) -> (usize, usize, f64) {
    let at = ((i as f64 + 0.5) * n as f64 / size as f64 - 0.5).clamp(0.0, n as f64 - 1.0);
    let low = at as usize;
    (low, (low + 1).min(n - 1), at - low as f64)
}

/// Four neighbours mixed. A weight is off by 4 units (both of its parts rounded, and divided), so that a mix of two is by
/// 8 of the larger, and by another 4 for what it rounds itself; then the same again.
fn mixed(
    size: [usize; 2],
    [row, column]: [usize; 2],
    n: [usize; 2],
    at: impl Fn(usize, usize) -> Near,
) -> Near {
    let (top, bottom, down) = between(row, size[0], n[0]);
    let (left, right, along) = between(column, size[1], n[1]);
    let corners = [at(top, left), at(top, right), at(bottom, left), at(bottom, right)];
    let mix = |a: f64, b: f64, w: f64| a * (1.0 - w) + b * w;
    let [a, b, c, d] = corners.map(|n| n.value);
    let value = mix(mix(a, b, along), mix(c, d, along), down);
    let most = |f: fn(&Near) -> f64| corners.iter().map(f).fold(0.0, f64::max);
    let resized = if size == n { 0.0 } else { 24.0 * UNIT };
    Near { value, error: most(|n| n.error) + resized * most(|n| n.value.abs()) }
}

/// A texture as a device reads it, and the tensor that is made of it: see [`texture_to_tensor`].
#[derive(Clone, Copy, Debug)]
pub struct TextureToTensor<'a> {
    /// Red, green, blue and alpha of each texel, row by row.
    pub texels: &'a [[f32; 4]],
    /// `[height, width]` of the texture.
    pub size: [usize; 2],
    /// `[channels, height, width]` of the tensor.
    pub shape: [usize; 3],
    /// What numbers are of colours.
    pub pixels: Pixels,
}

/// `(colour - mean) * scale` of each texel, or of what is between four of them where the sizes differ: along each axis at
/// `(i + 1/2) texels / elements - 1/2`, within the centres of the outermost. Colours are decoded or encoded first.
/// Channels outermost; with each number, how far an f32 kernel's may be from it.
///
/// # Errors
/// [`crate::Error::Shape`] where there are not as many texels as the size says, and [`crate::Error::Argument`] where the
/// numbers of channels or the scale have no meaning.
pub fn texture_to_tensor(args: &TextureToTensor<'_>) -> Result<Vec<(f64, f64)>> {
    const OP: &str = "texture_to_tensor";
    let TextureToTensor { texels, size, shape: [channels, height, width], pixels } = *args;
    check_len(OP, "texels", texels.len(), &size)?;
    pixels.check(OP, channels)?;
    let exact = |c: f32| Near { value: c.into(), error: 0.0 };
    // Of one texel.
    let colour = |texel: [f32; 4], c: usize| match c {
        3 => exact(texel[3]),
        c => transfer(pixels.srgb, exact(texel[c])),
    };
    let mut out = Vec::with_capacity(channels * height * width);
    for c in 0..channels {
        for (row, column) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let of = |c: usize| {
                mixed([height, width], [row, column], size, |y, x| colour(texels[y * size[1] + x], c))
            };
            let v = if pixels.luma {
                let parts = [(0, 0.2126), (1, 0.7152), (2, 0.0722)].map(|(c, weight)| (of(c), weight));
                let sum = |f: fn(Near) -> f64| parts.iter().map(|&(n, w)| w * f(n)).sum::<f64>();
                Near {
                    value: sum(|n| n.value),
                    error: sum(|n| n.error) + 4.0 * UNIT * sum(|n| n.value.abs()),
                }
            } else {
                of(c)
            };
            let (mean, scale) = (f64::from(pixels.mean[c]), f64::from(pixels.scale[c]));
            let value = (v.value - mean) * scale;
            let rounding = 2.0 * UNIT * (v.value.abs() + mean.abs());
            out.push((value, scale.abs() * (v.error + rounding) + TINY));
        }
    }
    Ok(out)
}

/// A tensor, and the texture that is made of it: see [`tensor_to_texture`].
#[derive(Clone, Copy, Debug)]
pub struct TensorToTexture<'a> {
    /// Channels outermost.
    pub x: &'a [f32],
    /// `[channels, height, width]` of the tensor.
    pub shape: [usize; 3],
    /// `[height, width]` of the texture.
    pub size: [usize; 2],
    /// What colours are of numbers.
    pub pixels: Pixels,
}

/// `number / scale + mean` of each element, or of what is between four of them where the sizes differ, as in
/// [`texture_to_tensor`]; decoded or encoded at last. Red, green, blue and alpha of each texel before they are brought
/// into the texture's format; with each, how far an f32 kernel's may be from it.
///
/// # Errors
/// As [`texture_to_tensor`], and where there is no element.
pub fn tensor_to_texture(args: &TensorToTexture<'_>) -> Result<Vec<[(f64, f64); 4]>> {
    const OP: &str = "tensor_to_texture";
    let TensorToTexture { x, shape: [channels, height, width], size, pixels } = *args;
    check_len(OP, "x", x.len(), &args.shape)?;
    pixels.check(OP, channels)?;
    if x.is_empty() {
        return Err(crate::Error::Shape {
            op: OP,
            detail: format!("nothing to write, x is {:?}", args.shape),
        });
    }
    let texel = |row: usize, column: usize| {
        std::array::from_fn(|c| {
            if c == 3 && channels < 4 {
                return (1.0, 0.0);
            }
            // A grey has one channel's number, mean and scale in all colours.
            let from = if channels == 1 { 0 } else { c };
            let element = |i: usize, j: usize| Near {
                value: f64::from(x[(from * height + i) * width + j]),
                error: 0.0,
            };
            let v = mixed(size, [row, column], [height, width], element);
            let (mean, scale) = (f64::from(pixels.mean[from]), f64::from(pixels.scale[from]));
            // The inverse is rounded, the product and the sum.
            let number = v.value / scale;
            let value = number + mean;
            let error = v.error / scale.abs() + UNIT * (2.0 * number.abs() + value.abs()) + TINY;
            let colour = Near { value, error };
            let Near { value, error } = if c == 3 { colour } else { transfer(pixels.srgb, colour) };
            (value, error)
        })
    };
    Ok((0..size[0]).flat_map(|row| (0..size[1]).map(move |column| texel(row, column))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(srgb: Srgb, x: f64) -> f64 {
        transfer(srgb, Near { value: x, error: 0.0 }).value
    }

    /// Values of IEC 61966-2-1's curve that other software prints, and that the curves are each other's inverse.
    #[test]
    fn the_curve_is_srgbs() {
        for (coded, linear) in
            [(0.0, 0.0), (1.0, 1.0), (0.5, 0.214_041_14), (0.04045, 0.003_130_8), (0.2, 0.033_104_77)]
        {
            assert!((curve(Srgb::Decode, coded) - linear).abs() < 1e-7, "{coded}");
            assert!((curve(Srgb::Encode, linear) - coded).abs() < 1e-6, "{linear}");
        }
        for i in -300..300 {
            let x = f64::from(i) / 100.0;
            assert!((curve(Srgb::Encode, curve(Srgb::Decode, x)) - x).abs() < 1e-6, "{x}");
        }
        let seam = f64::from(0.0031308f32);
        assert!((curve(Srgb::Encode, seam + 1e-12) - curve(Srgb::Encode, seam)).abs() < 1e-7);
        let seam = f64::from(0.04045f32);
        assert!((curve(Srgb::Decode, seam + 1e-12) - curve(Srgb::Decode, seam)).abs() < 1e-7);
    }

    #[test]
    fn places_are_those_of_half_pixel_centres() {
        use crate::graph::{Coordinates, Interpolation};
        for (n, size) in [(1, 5), (5, 1), (2, 4), (4, 2), (7, 3), (3, 7), (6, 6)] {
            let scale = size as f32 / n as f32;
            let taps =
                super::super::resize_taps(n, size, scale, Coordinates::HalfPixel, Interpolation::Linear);
            let x: Vec<f64> = (0..n).map(|i| (i * i) as f64).collect();
            for (i, tap) in taps.iter().enumerate() {
                let (low, high, w) = between(i, size, n);
                let (got, want) = (
                    x[low] * (1.0 - w) + x[high] * w,
                    x[tap.low] * (1.0 - tap.weight) + x[tap.high] * tap.weight,
                );
                assert!((got - want).abs() < 1e-9, "{i} of {n} to {size}: {got} is not {want}");
            }
        }
    }

    #[test]
    fn channels_mean_scale_and_alpha() {
        let texels = [[0.25, 0.5, 0.75, 0.125], [1.0, 0.0, 0.5, 1.0]];
        let pixels = Pixels { mean: [0.5; 4], scale: [2.0, 2.0, 4.0, 8.0], ..Default::default() };
        let read = |shape, pixels| {
            let args = TextureToTensor { texels: &texels, size: [1, 2], shape, pixels };
            texture_to_tensor(&args).unwrap().iter().map(|y| y.0).collect::<Vec<_>>()
        };
        assert_eq!(read([4, 1, 2], pixels), [-0.5, 1.0, 0.0, -1.0, 1.0, 0.0, -3.0, 4.0]);
        assert_eq!(read([1, 1, 2], pixels), [-0.5, 1.0]);
        // Between the two.
        assert_eq!(read([1, 1, 1], Pixels::default()), [0.625]);
        let luma = read([1, 1, 2], Pixels { luma: true, ..Default::default() });
        assert!((luma[0] - (0.2126 * 0.25 + 0.7152 * 0.5 + 0.0722 * 0.75)).abs() < 1e-12);
        let x: Vec<f32> = read([4, 1, 2], pixels).iter().map(|&y| y as f32).collect();
        let written =
            tensor_to_texture(&TensorToTexture { x: &x, shape: [4, 1, 2], size: [1, 2], pixels }).unwrap();
        assert_eq!(written[0].map(|y| y.0 as f32), texels[0]);
        assert_eq!(written[1].map(|y| y.0 as f32), texels[1]);
        let grey = tensor_to_texture(&TensorToTexture { x: &[0.5], shape: [1, 1, 1], size: [1, 1], pixels })
            .unwrap();
        assert_eq!(grey[0].map(|y| y.0), [0.75, 0.75, 0.75, 1.0]);
    }
}
