// From any element to any other, and the functions whose result is an integer. A thread takes sixteen neighbours of a
// row. U8 is held as its value less 128, truth as 0 or 1.
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

//% if X_FLOAT
fn load4(at: u32, column: u32) -> vec4<f32> {
//% if X_F16
    let word = at + column / 2u;
    return vec4<f32>(unpack2x16float(x[word]), unpack2x16float(x[word + 1u]));
//% end
//% if !X_F16
    let word = at + column;
    return bitcast<vec4<f32>>(vec4<u32>(x[word], x[word + 1u], x[word + 2u], x[word + 3u]));
//% end
}
fn magnitude(v: vec4<f32>) -> vec4<u32> { return bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu); }
//% end
//% if !X_FLOAT
fn load4(at: u32, column: u32) -> vec4<i32> {
//% if X_BYTES
    return unpack4xI8(x[at + column / 4u]) + vec4<i32>(SHIFT_X);
//% end
//% if !X_BYTES
    let word = at + column;
    return bitcast<vec4<i32>>(vec4<u32>(x[word], x[word + 1u], x[word + 2u], x[word + 3u]));
//% end
}
//% end

//% if OUT_FLOAT
fn convert(v: Four) -> vec4<f32> { return vec4<f32>(v); }
//% end
//% if !OUT_FLOAT
//% if X_FLOAT
fn convert(v: vec4<f32>) -> vec4<i32> {
//% if TRUTH
    return select(vec4<i32>(0), vec4<i32>(1), magnitude(v) != vec4<u32>(0u));
//% end
//% if IS_NAN
    return select(vec4<i32>(0), vec4<i32>(1), magnitude(v) > vec4<u32>(0x7f800000u));
//% end
//% if IS_INF
    let infinite = magnitude(v) == vec4<u32>(0x7f800000u);
    let positive = bitcast<vec4<i32>>(v) >= vec4<i32>(0);
    // alpha: whether minus infinity counts; beta: plus infinity.
    let counts = select(vec4<i32>(i32(p.lo)), vec4<i32>(i32(p.hi)), positive);
    return select(vec4<i32>(0), counts, infinite);
//% end
//% if NUMBER
    // 2147483520 is the largest f32 that i32 holds; what is above becomes the largest i32.
    let lowest = vec4<f32>(f32(LOWEST));
    var y = vec4<i32>(clamp(v, lowest, min(vec4<f32>(f32(HIGHEST)), vec4<f32>(2147483520.0))));
    y = select(y, vec4<i32>(HIGHEST), v >= vec4<f32>(f32(HIGHEST)));
    return select(y, vec4<i32>(0), magnitude(v) > vec4<u32>(0x7f800000u));
//% end
}
//% end
//% if !X_FLOAT
fn convert(v: vec4<i32>) -> vec4<i32> {
//% if TRUTH
    return select(vec4<i32>(0), vec4<i32>(1), v != vec4<i32>(0));
//% end
//% if NOT
    return select(vec4<i32>(0), vec4<i32>(1), v == vec4<i32>(0));
//% end
//% if ABS
    return abs(v);
//% end
//% if NEG
    return vec4<i32>(0) - v;
//% end
//% if SIGN
    return sign(v);
//% end
//% if NUMBER
    return v;
//% end
}
//% end
//% end

fn store4(at: u32, column: u32, y: Result) {
//% if OUT_WORDS
    let words = bitcast<vec4<u32>>(y);
    out[at + column] = words.x;
    if column + 1u < p.columns { out[at + column + 1u] = words.y; }
    if column + 2u < p.columns { out[at + column + 2u] = words.z; }
    if column + 3u < p.columns { out[at + column + 3u] = words.w; }
//% end
//% if !OUT_WORDS
    let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.columns);
//% if OUT_FLOAT
    let z = select(vec4<f32>(), y, live);
    out[at + column / 2u] = pack_f16(z.x, z.y);
    if column + 2u < p.columns { out[at + column / 2u + 1u] = pack_f16(z.z, z.w); }
//% end
//% if !OUT_FLOAT
    // Packed by their low bits, which is to wrap around.
    let z = bitcast<vec4<u32>>(select(vec4<i32>(), y - vec4<i32>(SHIFT_OUT), live)) & vec4<u32>(0xffu);
    out[at + column / 4u] = z.x | (z.y << 8u) | (z.z << 16u) | (z.w << 24u);
//% end
//% end
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = t / p.units;
    let unit = t - row * p.units;
//% for i in 4
    {
        let column = unit * 16u + #iu * 4u;
        if column < p.columns {
            store4(row * p.out_pitch, column, convert(load4(row * p.x_pitch, column)));
        }
    }
//% end
}
