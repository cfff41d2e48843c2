// What colours are on the way between a texture and a tensor, and where one lies between texels or elements.
//% if DECODE
// From sRGB to linear light.
fn linear(c: vec3<f32>) -> vec3<f32> {
    let a = abs(c);
    let curve = pow((a + 0.055) * (1.0 / 1.055), vec3<f32>(2.4));
    return sign(c) * select(curve, a * (1.0 / 12.92), a <= vec3<f32>(0.04045));
}
//% end
//% if ENCODE
// From linear light to sRGB.
fn coded(c: vec3<f32>) -> vec3<f32> {
    let a = abs(c);
    let curve = 1.055 * pow(a, vec3<f32>(1.0 / 2.4)) - 0.055;
    return sign(c) * select(curve, a * 12.92, a <= vec3<f32>(0.0031308));
}
//% end
fn colours(c: vec4<f32>) -> vec4<f32> {
//% if DECODE
    return vec4<f32>(linear(c.rgb), c.a);
//% end
//% if ENCODE
    return vec4<f32>(coded(c.rgb), c.a);
//% end
//% if KEEP
    return c;
//% end
}
//% if RESIZE
// (1 - weight) x[low] + weight x[high].
struct Between { low: u32, high: u32, weight: f32 }
// Place `i` of `size` along an axis of `n`, at (i + 1/2) n / size - 1/2 and not outside: in integers, so that no rounding
// takes it to another neighbour.
fn between(i: u32, size: u32, n: u32) -> Between {
    let steps = 2u * size;
    let at = max((2u * i + 1u) * n, size) - size;
    let low = at / steps;
    return Between(low, min(low + 1u, n - 1u), f32(at - low * steps) / f32(steps));
}
//% end
