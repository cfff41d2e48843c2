// f32 -> f16, rounded to nearest even, in integers: `pack2x16float` turns overflow into NaN on SwiftShader and may
// round either way elsewhere.
fn f16_bits(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let a = bits & 0x7fffffffu;
    // Half of the last place, less one, and the last bit: what is over a half carries, and a tie where that makes it even.
    let large = (a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u;
    // Subnormal: the value in units of 2^-24. A wrapped shift is of lanes that do not use it.
    let shift = clamp(126u - (a >> 23u), 1u, 25u);
    let mantissa = (a & 0x7fffffu) | 0x800000u;
    let small = (mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift;
    var h = select(large, small, a < 0x38800000u);
    h = select(h, 0x7c00u, a >= 0x477ff000u);
    h = select(h, 0x7e00u | ((a >> 13u) & 0x1ffu), a > 0x7f800000u);
    return ((bits >> 16u) & 0x8000u) | h;
}
// The last select never does anything, and no compiler sees that: without it LLVM carries the packing out lane by lane
// inside of llvmpipe's loop over the lanes of a store, which took 1.3 times as long.
fn pack_f16(x: f32, y: f32) -> u32 {
    let low = f16_bits(x);
    return select(low | (f16_bits(y) << 16u), 0u, low > 0xffffu);
}
