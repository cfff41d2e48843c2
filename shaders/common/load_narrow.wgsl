// load_float.wgsl of rows of NARROW columns, at most four: the rest of the sixteen is not there.
struct Sixteen { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }
@group(0) @binding(1) var<storage, read> x: array<u32>;

fn load16(row_word: u32, unit: u32) -> Sixteen {
    var v: vec4<f32>;
//% if X_F16
//% for i in NARROW_WORDS
    let pair#i = unpack2x16float(x[row_word + #iu]);
    v[2 * #i] = pair#i.x;
    v[2 * #i + 1] = pair#i.y;
//% end
//% end
//% if !X_F16
//% for i in NARROW
    v[#i] = bitcast<f32>(x[row_word + #iu]);
//% end
//% end
    return Sixteen(v, vec4<f32>(), vec4<f32>(), vec4<f32>());
}
fn live4(column: u32, columns: u32) -> vec4<bool> {
    return vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(columns);
}
