// Ranges in integer keys, ordered as the floats are: exact down to the last subnormal, and NaN cannot get in. What is
// not finite is left out and flagged.
const FLAG_NAN: u32 = 1u;
const FLAG_INFINITY: u32 = 2u;
const HIGHEST: i32 = 0x7fffffff;
const LOWEST: i32 = -0x7fffffff;

struct Extrema { lo: vec4<i32>, hi: vec4<i32>, flags: vec4<u32> }
// `ops::RangeState`: `batches` of 0 means that nothing was seen, and the ends are then inf and -inf.
struct RangeState { lo: u32, hi: u32, flags: u32, batches: u32 }

fn nothing() -> Extrema { return Extrema(vec4<i32>(HIGHEST), vec4<i32>(LOWEST), vec4<u32>()); }
// The key of a float's bits, and back: a negative float's magnitude bits are flipped.
fn keys(bits: vec4<i32>) -> vec4<i32> { return bits ^ ((bits >> vec4<u32>(31u)) & vec4<i32>(0x7fffffff)); }
fn key(bits: i32) -> i32 { return bits ^ ((bits >> 31u) & 0x7fffffff); }

fn include(e: Extrema, x: vec4<f32>, live: vec4<bool>) -> Extrema {
    let bits = bitcast<vec4<i32>>(x);
    let magnitude = bits & vec4<i32>(0x7fffffff);
    let finite = magnitude < vec4<i32>(0x7f800000);
    let k = keys(bits);
    let good = finite & live;
    let flag = select(vec4<u32>(FLAG_INFINITY), vec4<u32>(FLAG_NAN), magnitude > vec4<i32>(0x7f800000));
    return Extrema(
        min(e.lo, select(vec4<i32>(HIGHEST), k, good)),
        max(e.hi, select(vec4<i32>(LOWEST), k, good)),
        e.flags | select(vec4<u32>(), flag, live & !finite));
}
