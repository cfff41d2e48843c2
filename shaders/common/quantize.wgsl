// Four integers from -128 to 127 as the bytes of a word. They lie in the lowest bits of a float that is large enough to
// have no others: cheaper than a conversion, which WGSL clamps again. The select does nothing: see f16.wgsl.
fn bytes_of(q: vec4<f32>) -> u32 {
    let b = bitcast<vec4<u32>>(q + 12582912.0) & vec4<u32>(255u);
    return select(b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u), 0u, q.x > 1e9);
}
// sat(rne(x * inv_scale) + zero_point), four to a word; those that are not live are zero. NaN becomes zero by its bits
// (comparisons may be assumed free of it), and the zero point is added after the rounding: added before, it would move
// the ties. Both are integers, whose sum is exact in f32 where it is not cut off.
fn quantize_word(x: vec4<f32>, inv_scale: vec4<f32>, zero: vec4<i32>, lo: vec4<i32>, hi: vec4<i32>, live: vec4<bool>) -> u32 {
    let nan = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let steps = round(select(x, vec4<f32>(), nan) * inv_scale);
    let q = clamp(steps + vec4<f32>(zero), vec4<f32>(lo), vec4<f32>(hi));
    return bytes_of(select(vec4<f32>(), q, live));
}
// The same by one set of parameters.
fn quantized(q: QuantParams, x: vec4<f32>, live: vec4<bool>) -> u32 {
    return quantize_word(x, vec4<f32>(q.inv_scale), vec4<i32>(q.zero_point),
        vec4<i32>((q.limits << 16u) >> 16u), vec4<i32>(q.limits >> 16u), live);
}
