// load_float.wgsl of whole vectors by 64-bit loads (SHADER_INT64): a CPU adapter loads each lane and component by itself,
// and these are half as many.
struct Sixteen { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>;

//% if X_F16
fn widen(w: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
fn load16(row_word: u32, unit: u32) -> Sixteen {
    let w = x[row_word / 8u + unit];
    let u = split_words(w.xy);
    let v = split_words(w.zw);
    return Sixteen(widen(u.xy), widen(u.zw), widen(v.xy), widen(v.zw));
}
//% end
//% if !X_F16
fn load16(row_word: u32, unit: u32) -> Sixteen {
    let at = row_word / 8u + unit * 2u;
    let u = x[at];
    let v = x[at + 1u];
    return Sixteen(bitcast<vec4<f32>>(split_words(u.xy)), bitcast<vec4<f32>>(split_words(u.zw)),
        bitcast<vec4<f32>>(split_words(v.xy)), bitcast<vec4<f32>>(split_words(v.zw)));
}
//% end
fn live4(column: u32, columns: u32) -> vec4<bool> {
    return vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(columns);
}
