// Sixteen neighbours of a row as f32, or as f16 where OUT_F16; past the row's end nothing is stored, but for a zero
// that shares a word with the last f16. A CPU adapter stores by 64 bits (WIDE) what it would by as many of 32.
//% if OUT_VEC
//% if WIDE
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u64>>;
//% end
//% if !WIDE
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;
//% end
//% end
//% if !OUT_VEC
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
//% end

//% if OUT_F16
fn narrow(y: vec4<f32>) -> vec2<u32> { return vec2<u32>(pack_f16(y.x, y.y), pack_f16(y.z, y.w)); }
//% end
//% if !OUT_VEC
fn store4(at: u32, column: u32, y: vec4<f32>) {
    if column >= p.columns { return; }
//% if OUT_F16
    let words = narrow(select(vec4<f32>(), y, live4(column, p.columns)));
    out[at + column / 2u] = words.x;
    if column + 2u < p.columns { out[at + column / 2u + 1u] = words.y; }
//% end
//% if !OUT_F16
    let words = bitcast<vec4<u32>>(y);
    out[at + column] = words.x;
    if column + 1u < p.columns { out[at + column + 1u] = words.y; }
    if column + 2u < p.columns { out[at + column + 2u] = words.z; }
    if column + 3u < p.columns { out[at + column + 3u] = words.w; }
//% end
}
//% end
fn store16(row: u32, unit: u32, v: Sixteen) {
//% if OUT_VEC
//% if WIDE
//% if OUT_F16
    out[row * p.out_pitch / 8u + unit] = vec4<u64>(
        join_words(vec4<u32>(narrow(v.a), narrow(v.b))), join_words(vec4<u32>(narrow(v.c), narrow(v.d))));
//% end
//% if !OUT_F16
    let at = row * p.out_pitch / 8u + unit * 2u;
    out[at] = vec4<u64>(join_words(bitcast<vec4<u32>>(v.a)), join_words(bitcast<vec4<u32>>(v.b)));
    out[at + 1u] = vec4<u64>(join_words(bitcast<vec4<u32>>(v.c)), join_words(bitcast<vec4<u32>>(v.d)));
//% end
//% end
//% if !WIDE
//% if OUT_F16
    let at = row * p.out_pitch / 4u + unit * 2u;
    out[at] = vec4<u32>(narrow(v.a), narrow(v.b));
    out[at + 1u] = vec4<u32>(narrow(v.c), narrow(v.d));
//% end
//% if !OUT_F16
    let at = row * p.out_pitch / 4u + unit * 4u;
    out[at] = bitcast<vec4<u32>>(v.a);
    out[at + 1u] = bitcast<vec4<u32>>(v.b);
    out[at + 2u] = bitcast<vec4<u32>>(v.c);
    out[at + 3u] = bitcast<vec4<u32>>(v.d);
//% end
//% end
//% end
//% if !OUT_VEC
    let at = row * p.out_pitch;
    let column = unit * 16u;
    store4(at, column, v.a);
    store4(at, column + 4u, v.b);
    store4(at, column + 8u, v.c);
    store4(at, column + 12u, v.d);
//% end
}
