// Two neighbouring axes in other sizes: x is [outer, height, width, inner], out [outer, out_height, out_width, inner].
// A thread makes one word of inner, or four where VEC; the words of NEAREST may hold anything. F16: two to a word. OUT_I8:
// the four words leave as int8.
struct Params {
    total: u32,       // threads
    inner: u32,       // units
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    x_pitch: u32,     // units from column to column
    out_pitch: u32,   // units from column to column
}
// What one place is made of: `a x[low] + b x[high]`.
struct Tap { low: u32, high: u32, a: f32, b: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> taps: array<Tap>;   // of the rows, then of the columns
//% if VEC
alias Words = vec4<u32>;
//% end
//% if !VEC
alias Words = u32;
//% end
@group(0) @binding(1) var<storage, read> x: array<Words>;
@group(0) @binding(3) var<storage, read_write> out: array<Out>;
//% if OUT_I8
@group(0) @binding(4) var<storage, read> out_params: array<QuantParams>;
//% if F16
alias Out = vec2<u32>;
//% end
//% if !F16
alias Out = u32;
//% end
fn quantized4(y: vec4<f32>) -> u32 { return quantized(out_params[0], stored(y), vec4<bool>(true)); }
//% end
//% if !OUT_I8
alias Out = Words;
//% end

//% if LINEAR
//% if F16
fn mix2(u: u32, v: u32, a: f32, b: f32) -> vec2<f32> { return unpack2x16float(u) * a + unpack2x16float(v) * b; }
fn two(p00: u32, p01: u32, p10: u32, p11: u32, y: Tap, x: Tap) -> vec2<f32> {
    return mix2(p00, p01, x.a, x.b) * y.a + mix2(p10, p11, x.a, x.b) * y.b;
}
//% if OUT_I8
fn blend(p00: Words, p01: Words, p10: Words, p11: Words, y: Tap, x: Tap) -> Out {
    return Out(
        quantized4(vec4<f32>(two(p00.x, p01.x, p10.x, p11.x, y, x), two(p00.y, p01.y, p10.y, p11.y, y, x))),
        quantized4(vec4<f32>(two(p00.z, p01.z, p10.z, p11.z, y, x), two(p00.w, p01.w, p10.w, p11.w, y, x))));
}
//% end
//% if !OUT_I8
fn word(p00: u32, p01: u32, p10: u32, p11: u32, y: Tap, x: Tap) -> u32 {
    let v = two(p00, p01, p10, p11, y, x);
    return pack_f16(v.x, v.y);
}
//% if VEC
fn blend(p00: Words, p01: Words, p10: Words, p11: Words, y: Tap, x: Tap) -> Words {
    return Words(word(p00.x, p01.x, p10.x, p11.x, y, x), word(p00.y, p01.y, p10.y, p11.y, y, x),
        word(p00.z, p01.z, p10.z, p11.z, y, x), word(p00.w, p01.w, p10.w, p11.w, y, x));
}
//% end
//% if !VEC
fn blend(p00: Words, p01: Words, p10: Words, p11: Words, y: Tap, x: Tap) -> Words {
    return word(p00, p01, p10, p11, y, x);
}
//% end
//% end
//% end
//% if !F16
//% if VEC
alias Floats = vec4<f32>;
//% end
//% if !VEC
alias Floats = f32;
//% end
fn blend(p00: Words, p01: Words, p10: Words, p11: Words, y: Tap, x: Tap) -> Out {
    let top = bitcast<Floats>(p00) * x.a + bitcast<Floats>(p01) * x.b;
    let bottom = bitcast<Floats>(p10) * x.a + bitcast<Floats>(p11) * x.b;
    let sum = top * y.a + bottom * y.b;
//% if OUT_I8
    return quantized4(sum);
//% end
//% if !OUT_I8
    return bitcast<Words>(sum);
//% end
}
//% end
//% end

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let column = t / p.inner;
    let unit = t - column * p.inner;
    let row = column / p.out_width;
    let outer = row / p.out_height;
    let ty = taps[row - outer * p.out_height];
    let tx = taps[p.out_height + column - row * p.out_width];
    let top = (outer * p.height + ty.low) * p.width;
//% if LINEAR
    let bottom = (outer * p.height + ty.high) * p.width;
    let y = blend(x[(top + tx.low) * p.x_pitch + unit], x[(top + tx.high) * p.x_pitch + unit],
        x[(bottom + tx.low) * p.x_pitch + unit], x[(bottom + tx.high) * p.x_pitch + unit], ty, tx);
//% end
//% if !LINEAR
    let y = x[(top + tx.low) * p.x_pitch + unit];
//% end
    out[column * p.out_pitch + unit] = y;
}
