// Elements of x at indices along one axis. x is [outer, n, inner], out [outer, m, inner]; a negative index counts from
// the end, and one out of range is taken as the nearest in range.
//
// ROWS: inner is of whole rows, and a thread copies a word of one (four, where VEC), or dequantizes the int8 of one word
// (DEQUANTIZE). Else a thread gathers the elements of one word of out.
struct Params {
    total: u32,       // threads
    row_units: u32,   // of a row of out
    columns: u32,     // elements of a row of out
    n: u32,
    m: u32,
    inner: u32,       // rows for each index; elements, where not ROWS
    x_columns: u32,   // elements of a row of x
    x_pitch: u32,     // units from row to row
    out_pitch: u32,   // units from row to row
    per_index: u32,   // whether each index has parameters of its own
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> indices: array<i32>;         // [m]
@group(0) @binding(3) var<storage, read> params: array<QuantParams>;  // one, or [n]
//% if VEC
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<u32>>;
//% end
//% if !VEC
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<u32>;
//% end

fn index(j: u32) -> u32 {
    let i = indices[j];
    return u32(clamp(select(i, i + i32(p.n), i < 0), 0, i32(p.n) - 1));
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = t / p.row_units;
    let unit = t - row * p.row_units;
//% if ROWS
    let which = row / p.inner;
    let o = which / p.m;
    let i = index(which - o * p.m);
    let from = ((o * p.n + i) * p.inner + (row - which * p.inner)) * p.x_pitch + unit;
//% if !DEQUANTIZE
    out[row * p.out_pitch + unit] = x[from];
//% end
//% if DEQUANTIZE
    let q = params[select(0u, i, p.per_index != 0u)];
    var y = vec4<f32>(unpack4xI8(x[from]) - vec4<i32>(q.zero_point)) * q.scale;
    let column = unit * 4u;
    y = select(vec4<f32>(), y, vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.columns));
//% if OUT_F16
    let to = row * p.out_pitch + unit * 2u;
    out[to] = pack_f16(y.x, y.y);
    if column + 2u < p.columns { out[to + 1u] = pack_f16(y.z, y.w); }
//% end
//% if !OUT_F16
    let to = row * p.out_pitch + column;
    let words = bitcast<vec4<u32>>(y);
    out[to] = words.x;
    if column + 1u < p.columns { out[to + 1u] = words.y; }
    if column + 2u < p.columns { out[to + 2u] = words.z; }
    if column + 3u < p.columns { out[to + 3u] = words.w; }
//% end
//% end
//% end
//% if !ROWS
    var packed = 0u;
//% for e in PER_WORD
    {
        let column = unit * PER_WORD + #eu;
        let linear = row * p.columns + min(column, p.columns - 1u);
        let which = linear / p.inner;
        let o = which / p.m;
        let i = index(which - o * p.m);
        let at = (o * p.n + i) * p.inner + (linear - which * p.inner);
        let from = at / p.x_columns;
        let c = at - from * p.x_columns;
        let v = extractBits(x[from * p.x_pitch + c / PER_WORD], (c % PER_WORD) * BITS, BITS);
        packed |= select(0u, v << (#eu * BITS), column < p.columns);
    }
//% end
    out[row * p.out_pitch + unit] = packed;
//% end
}
