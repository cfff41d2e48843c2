// Sixteen neighbours of a row of f32, or of f16 where X_F16. X_VEC: rows begin on whole vectors, and the buffer has
// the last one; what lies past the row's end is then whatever is there, else the buffer's own words. Callers mask it.
struct Sixteen { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }
//% if X_VEC
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
//% end
//% if !X_VEC
@group(0) @binding(1) var<storage, read> x: array<u32>;
//% end

//% if X_VEC
//% if X_F16
fn widen(w: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
fn load16(row_word: u32, unit: u32) -> Sixteen {
    let at = row_word / 4u + unit * 2u;
    let u = x[at];
    let v = x[at + 1u];
    return Sixteen(widen(u.xy), widen(u.zw), widen(v.xy), widen(v.zw));
}
//% end
//% if !X_F16
fn load16(row_word: u32, unit: u32) -> Sixteen {
    let at = row_word / 4u + unit * 4u;
    return Sixteen(bitcast<vec4<f32>>(x[at]), bitcast<vec4<f32>>(x[at + 1u]),
        bitcast<vec4<f32>>(x[at + 2u]), bitcast<vec4<f32>>(x[at + 3u]));
}
//% end
//% end
//% if !X_VEC
fn load4(row_word: u32, quad: u32) -> vec4<f32> {
//% if X_F16
    let at = row_word + quad * 2u;
    return vec4<f32>(unpack2x16float(x[at]), unpack2x16float(x[at + 1u]));
//% end
//% if !X_F16
    let at = row_word + quad * 4u;
    return bitcast<vec4<f32>>(vec4<u32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]));
//% end
}
fn load16(row_word: u32, unit: u32) -> Sixteen {
    return Sixteen(load4(row_word, unit * 4u), load4(row_word, unit * 4u + 1u),
        load4(row_word, unit * 4u + 2u), load4(row_word, unit * 4u + 3u));
}
//% end
fn live4(column: u32, columns: u32) -> vec4<bool> {
    return vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(columns);
}
