// What is seen of a texel: its light times its surface, through a filmic curve, in sRGB.

fn shown(light: vec3f, surface: vec3f) -> vec3f {
    let bounded = max(light, vec3f(0.0));
    let x = bounded * bounded * surface;
    let c = clamp(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), vec3f(0.0), vec3f(1.0));
    return select(1.055 * pow(c, vec3f(1.0 / 2.4)) - 0.055, c * 12.92, c <= vec3f(0.0031308));
}
