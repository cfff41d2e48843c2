// f32 -> f16, rounded to nearest even, in integers: `pack2x16float` turns overflow into NaN on SwiftShader and may
// round either way elsewhere.
fn f16_bits(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let sign = (bits >> 16u) & 0x8000u;
    let a = bits & 0x7fffffffu;
    // Subnormal: the value in units of 2^-24. The shift is kept below 32 for lanes that do not use it.
    let shift = clamp(126u - min(a >> 23u, 126u), 1u, 25u);
    let mantissa = (a & 0x7fffffu) | 0x800000u;
    let small = round_shift(mantissa, shift);
    let large = round_shift(a - 0x38000000u, 13u);
    var h = select(large, select(small, 0u, a <= 0x33000000u), a < 0x38800000u);
    h = select(h, 0x7c00u, a >= 0x477ff000u);
    h = select(h, 0x7e00u | ((a >> 13u) & 0x1ffu), a > 0x7f800000u);
    return sign | h;
}
fn round_shift(v: u32, shift: u32) -> u32 {
    let q = v >> shift;
    let rest = v & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    return q + select(0u, 1u, rest > half || (rest == half && (q & 1u) == 1u));
}
fn pack_f16(x: f32, y: f32) -> u32 { return f16_bits(x) | (f16_bits(y) << 16u); }
