// quantize_rows.wgsl for rows that fit into the registers of 8 lanes: a subgroup goes through ROWS rows, of which each
// lane has QUADS fours, and reads them once.
struct Params {
    scheme: Scheme,
    rows: u32,
    columns: u32,
    units: u32,
    lanes: u32,
    x_pitch: u32,     // words from row to row
    out_pitch: u32,   // words from row to row
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Four>;                     // [rows, columns]
@group(0) @binding(2) var<storage, read_write> out: array<u32>;              // [rows, columns]
@group(0) @binding(3) var<storage, read_write> params: array<QuantParams>;   // [rows]

fn packed(q: QuantParams, x: vec4<f32>) -> u32 {
    return pack4xI8(quantize4(x, vec4<f32>(q.inv_scale), vec4<i32>(q.zero_point),
        vec4<i32>(qmin_of(q.limits)), vec4<i32>(qmax_of(q.limits))));
}

@compute @workgroup_size(8, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * ROWS;
    var lo = HIGHEST;
    var hi = LOWEST;
//% for i in ROWS
    // Past the last row the last one is computed again, and not stored.
    let live#i = first + #iu < p.rows;
    let row#i = min(first + #iu, p.rows - 1u);
    var e#i = nothing();
//% for j in QUADS
    let v#i_#j = wide(x[row#i * (p.x_pitch / WORDS) + #ju * 8u + lane]);
    e#i = include(e#i, v#i_#j, vec4<bool>(true));
//% end
    let lo#i = least(e#i.lo);
    // Keys are at least LOWEST, so that each has a negative.
    let hi#i = -least(-e#i.hi);
    lo = select(lo, lo#i, lane == #iu);
    hi = select(hi, hi#i, lane == #iu);
//% end
    // Each row's parameters are chosen by one lane, of all rows at once: a division is long.
    var mine = params_of_nothing(p.scheme);
    if lo <= hi { mine = params_of_range(p.scheme, bitcast<f32>(key(lo)), bitcast<f32>(key(hi))); }
    if lane < ROWS && first + lane < p.rows { params[first + lane] = mine; }
//% for i in ROWS
    let q#i = QuantParams(subgroupBroadcast(mine.scale, #iu), subgroupBroadcast(mine.inv_scale, #iu),
        subgroupBroadcast(mine.zero_point, #iu), subgroupBroadcast(mine.limits, #iu));
//% for j in QUADS
    if live#i { out[row#i * p.out_pitch + #ju * 8u + lane] = packed(q#i, v#i_#j); }
//% end
//% end
}
