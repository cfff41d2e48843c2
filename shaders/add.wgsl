// act(a + b), broadcast: f32 and f16, or int8 with parameters for each operand; to int8 with the output's. A thread
// computes four neighbours of an output row.
struct Params {
    total: u32,        // threads
    quads: u32,        // fours in an output row
    columns: u32,
    out_pitch: u32,    // words from row to row
    a_column: u32,     // 0 where the operand's innermost dimension repeats, else 1
    b_column: u32,
    lo: f32,           // activation: clamp to [lo, hi]
    hi: f32,
    // The dimensions over the innermost, from the inside: how long, and how many words apart in the operands (0 where
    // they repeat).
    length: array<vec4<u32>, 2>,
    a_apart: array<vec4<u32>, 2>,
    b_apart: array<vec4<u32>, 2>,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> a_params: array<QuantParams>;     // int8: one each
@group(0) @binding(4) var<storage, read> b_params: array<QuantParams>;
@group(0) @binding(5) var<storage, read> out_params: array<QuantParams>;
@group(0) @binding(6) var<storage, read_write> out: array<u32>;

//% if I8
fn a_load(at: u32, column: u32) -> vec4<f32> {
    let q = a_params[0];
    return vec4<f32>(unpack4xI8(a[at + column / 4u]) - vec4<i32>(q.zero_point)) * q.scale;
}
fn b_load(at: u32, column: u32) -> vec4<f32> {
    let q = b_params[0];
    return vec4<f32>(unpack4xI8(b[at + column / 4u]) - vec4<i32>(q.zero_point)) * q.scale;
}
//% end
//% if F16
fn a_load(at: u32, column: u32) -> vec4<f32> {
    let word = at + column / 2u;
    return vec4<f32>(unpack2x16float(a[word]), unpack2x16float(a[word + 1u]));
}
fn b_load(at: u32, column: u32) -> vec4<f32> {
    let word = at + column / 2u;
    return vec4<f32>(unpack2x16float(b[word]), unpack2x16float(b[word + 1u]));
}
//% end
//% if F32
fn a_load(at: u32, column: u32) -> vec4<f32> {
    let word = at + column;
    return bitcast<vec4<f32>>(vec4<u32>(a[word], a[word + 1u], a[word + 2u], a[word + 3u]));
}
fn b_load(at: u32, column: u32) -> vec4<f32> {
    let word = at + column;
    return bitcast<vec4<f32>>(vec4<u32>(b[word], b[word + 1u], b[word + 2u], b[word + 3u]));
}
//% end

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = t / p.quads;
    let column = (t - row * p.quads) * 4u;
    let at = places(row);
    var x = a_load(at.x, column * p.a_column);
    var y = b_load(at.y, column * p.b_column);
    if p.a_column == 0u { x = vec4<f32>(x.x); }
    if p.b_column == 0u { y = vec4<f32>(y.x); }
    var z = x + y;
//% if ACTIVATE
    z = clamp(z, vec4<f32>(p.lo), vec4<f32>(p.hi));
//% end
    let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.columns);
    let to = row * p.out_pitch;
//% if OUT_I8
    out[to + column / 4u] = quantized(out_params[0], stored(z), live);
//% end
//% if OUT_F16
    z = select(vec4<f32>(), z, live);
    out[to + column / 2u] = pack_f16(z.x, z.y);
    if column + 2u < p.columns { out[to + column / 2u + 1u] = pack_f16(z.z, z.w); }
//% end
//% if OUT_F32
    let words = bitcast<vec4<u32>>(z);
    out[to + column] = words.x;
    if column + 1u < p.columns { out[to + column + 1u] = words.y; }
    if column + 2u < p.columns { out[to + column + 2u] = words.z; }
    if column + 3u < p.columns { out[to + column + 3u] = words.w; }
//% end
}
