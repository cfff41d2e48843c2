// Reals as they are once a kernel has stored them and the next has loaded them again: rounded where they are HALF.
fn stored(x: vec4<f32>) -> vec4<f32> {
//% if HALF
    return vec4<f32>(unpack2x16float(pack_f16(x.x, x.y)), unpack2x16float(pack_f16(x.z, x.w)));
//% end
//% if !HALF
    return x;
//% end
}
