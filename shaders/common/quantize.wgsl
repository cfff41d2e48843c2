// sat(rne(x * inv_scale) + zero_point): the product is clamped so that an infinity saturates instead of wrapping, NaN
// becomes zero by its bits (comparisons may be assumed free of it), and the zero point is added after the rounding, as
// an integer: added before, it would move the ties.
fn quantize4(x: vec4<f32>, inv_scale: vec4<f32>, zero: vec4<i32>, lo: vec4<i32>, hi: vec4<i32>) -> vec4<i32> {
    let nan = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let steps = clamp(select(x, vec4<f32>(), nan) * inv_scale, vec4<f32>(-65536.0), vec4<f32>(65536.0));
    return clamp(vec4<i32>(round(steps)) + zero, lo, hi);
}
