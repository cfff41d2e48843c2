// From a range to scale and zero point: `quant::Scheme::params`, bit for bit where the scale is a normal number.
// `NUMERICS` section 1.2. RULE: 0 PyTorch's observers, 1 FBGEMM, 2 ONNX Runtime, 3 PyTorch's per-token.
struct Scheme {
    qmin: i32,
    qmax: i32,
    symmetric_zero: i32,   // zero point where SYMMETRIC
    eps: f32,              // the smallest scale of rule 0
}
const SHIFT: i32 = 128;            // between signed and unsigned bytes
const LARGEST: f32 = 0x1.fffffep+127;

fn params_of(s: Scheme, scale: f32, zero_point: i32) -> QuantParams {
    return QuantParams(scale, divide(1.0, scale), zero_point, (s.qmin & 0xffff) | (s.qmax << 16u));
}
// Where nothing was seen.
fn params_of_nothing(s: Scheme) -> QuantParams { return params_of(s, 1.0, clamp(0, s.qmin, s.qmax)); }

fn params_of_range(s: Scheme, min_seen: f32, max_seen: f32) -> QuantParams {
    let lo = min(min_seen, 0.0);
    let hi = max(max_seen, 0.0);
    let steps = f32(s.qmax - s.qmin);
    // A range whose width overflows, which the CPU refuses, is taken as the widest.
    let width = min(hi - lo, LARGEST);
//% if OBSERVER
//% if SYMMETRIC
    let scale = max(divide(max(-lo, hi), steps * 0.5), s.eps);
    return params_of(s, scale, s.symmetric_zero);
//% end
//% if !SYMMETRIC
    let scale = max(divide(width, steps), s.eps);
    return params_of(s, scale, clamp(s.qmin - i32(round(divide(lo, scale))), s.qmin, s.qmax));
//% end
//% end
//% if PER_TOKEN
//% if SYMMETRIC
    return params_of(s, divide(max(max(-lo, hi), 1e-5), f32(s.qmax)), s.symmetric_zero);
//% end
//% if !SYMMETRIC
    let scale = max(divide(width, steps), 0x1p-23);
    let below = divide(lo, scale);
    let above = divide(hi, scale);
    let qmin = f32(s.qmin);
    let qmax = f32(s.qmax);
    let candidate = select(qmax - above, qmin - below, (qmin + below) + (qmax + above) > 0.0);
    return params_of(s, scale, i32(round(clamp(candidate, qmin, qmax))));
//% end
//% end
//% if ONNX
    let scale = divide(width, steps);
    if scale == 0.0 { return params_of(s, 1.0, s.qmin); }
    let qmin = f32(s.qmin + SHIFT);
    let zero = round(clamp(qmin - divide(lo, scale), qmin, f32(s.qmax + SHIFT)));
    return params_of(s, scale, i32(zero) - SHIFT);
//% end
//% if FBGEMM
    // In f32 where FBGEMM has f64: the scale is within 1 unit of its, the zero point its own but for near ties.
    let qmin = f32(s.qmin + SHIFT);
    let qmax = f32(s.qmax + SHIFT);
    const SMALL: f32 = 6.1e-5;
    var a = lo;
    var b = hi;
    var scale = divide(width, steps);
    if scale == 0.0 { scale = 0.1; }
    if scale < SMALL {
        // The range is blown up with the scale, so that the zero point stays where it was in proportion.
        let amplifier = divide(SMALL, scale);
        scale = SMALL;
        if lo == 0.0 {
            b = SMALL * steps;
        } else if hi == 0.0 {
            a = -SMALL * steps;
        } else {
            a *= amplifier;
            b *= amplifier;
        }
    }
    let below = divide(a, scale);
    let above = divide(b, scale);
    let candidate = select(qmax - above, qmin - below, abs(qmin) - abs(below) < abs(qmax) - abs(above));
    return params_of(s, scale, i32(round(clamp(candidate, qmin, qmax))) - SHIFT);
//% end
}
