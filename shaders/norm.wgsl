// Normalization by rows in one dispatch: (x - mean) / sqrt(variance + epsilon) * scale + bias. A row is gone through
// for its mean, for the squares of what differs from it, and for the result: the mean of squares less the square of
// the mean would lose all digits where the mean is large.
// TEAM: by `lanes` threads of a workgroup of 64; the others of the workgroup are on other rows. Otherwise by a single
// thread of a workgroup of 8, without barriers.
struct Params {
    rows: u32,
    columns: u32,
    units: u32,         // sixteens in a row
    lanes: u32,         // a power of two, at most 64; 1 without TEAM
    x_pitch: u32,       // words from row to row
    out_pitch: u32,     // words from row to row
    rms: u32,           // 1: the mean counts as 0
    epsilon: f32,
    inverse: f32,       // 1 / columns
    // GROUPED: a row is one of `groups`, of `channels` with `inner` columns each.
    groups: u32,
    channels: u32,
    inner: u32,
    scale_step: u32,    // 0 where there is one scale for all, else 1
    bias_step: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
//% if W_VEC
@group(0) @binding(2) var<storage, read> scale: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<u32>>;
//% end
//% if !W_VEC
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<u32>;
//% end

//% if !TEAM
const THREADS: u32 = 8u;
fn total(x: vec4<f32>, lane: u32, local: u32) -> f32 { return (x.x + x.y) + (x.z + x.w); }
//% end
//% if TEAM
const THREADS: u32 = 64u;
var<workgroup> sums: array<f32, 64>;
fn total(x: vec4<f32>, lane: u32, local: u32) -> f32 {
    workgroupBarrier(); // the sum before this read -> written again
    sums[local] = (x.x + x.y) + (x.z + x.w);
    for (var step = p.lanes / 2u; step > 0u; step /= 2u) {
        workgroupBarrier(); // the upper half of each row's lanes written -> read by the lower
        if lane < step { sums[local] += sums[local + step]; }
    }
    workgroupBarrier(); // summed by the first lane -> read by all of the row's
    return sums[local - lane];
}
//% end

//% if W_VEC
// A scale for each column, or none where the step is 0, four at once.
fn four(w: vec4<u32>, column: u32) -> vec4<f32> {
//% if W_F16
    let two = select(w.xy, w.zw, (column & 4u) != 0u);
    return vec4<f32>(unpack2x16float(two.x), unpack2x16float(two.y));
//% end
//% if !W_F16
    return bitcast<vec4<f32>>(w);
//% end
}
fn result(x: vec4<f32>, mean: f32, factor: f32, row: u32, column: u32) -> vec4<f32> {
    var y = (x - mean) * factor;
    let at = column / (4u * W_PER_WORD);
    if p.scale_step != 0u { y *= four(scale[at], column); }
    if p.bias_step != 0u { y += four(bias[at], column); }
    return y;
}
//% end
//% if !W_VEC
fn unpacked(word: u32, i: u32) -> f32 {
//% if W_F16
    let two = unpack2x16float(word);
    return select(two.x, two.y, (i & 1u) == 1u);
//% end
//% if !W_F16
    return bitcast<f32>(word);
//% end
}
fn scale_at(index: u32) -> f32 {
    let i = index * p.scale_step;
    return unpacked(scale[i / W_PER_WORD], i);
}
fn bias_at(index: u32) -> f32 {
    let i = index * p.bias_step;
    return unpacked(bias[i / W_PER_WORD], i);
}
// Which scale a column has.
fn index_of(row: u32, column: u32) -> u32 {
//% if GROUPED
    return (row % p.groups) * p.channels + column / p.inner;
//% end
//% if !GROUPED
    return column;
//% end
}

fn result(x: vec4<f32>, mean: f32, factor: f32, row: u32, column: u32) -> vec4<f32> {
//% for i in 4
    let index_#i = index_of(row, column + #iu);
//% end
    let s = vec4<f32>(scale_at(index_0), scale_at(index_1), scale_at(index_2), scale_at(index_3));
    let b = vec4<f32>(bias_at(index_0), bias_at(index_1), bias_at(index_2), bias_at(index_3));
    return (x - mean) * factor * s + b;
}
//% end

//% if OUT_VEC
// Rows are whole sixteens.
fn live(x: vec4<f32>, column: u32) -> vec4<f32> { return x; }
//% end
//% if !OUT_VEC
fn live(x: vec4<f32>, column: u32) -> vec4<f32> { return select(vec4<f32>(), x, live4(column, p.columns)); }
//% end
fn squares(x: vec4<f32>, mean: f32, column: u32) -> vec4<f32> {
    let d = live(x - mean, column);
    return d * d;
}

@compute @workgroup_size(THREADS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = local / p.lanes;
    let lane = local - slot * p.lanes;
    let row = (group.x + group.y * groups.x) * (THREADS / p.lanes) + slot;
    // Threads past the last row go through nothing, but meet the others at the barriers.
    let units = select(0u, p.units, row < p.rows);
    var mean = 0.0;
    if p.rms == 0u {
        var sum = vec4<f32>();
        for (var u = lane; u < units; u += p.lanes) {
            let v = load16(row * p.x_pitch, u);
            let column = u * 16u;
            sum += (live(v.a, column) + live(v.b, column + 4u)) + (live(v.c, column + 8u) + live(v.d, column + 12u));
        }
        mean = total(sum, lane, local) * p.inverse;
    }
    var sum = vec4<f32>();
    for (var u = lane; u < units; u += p.lanes) {
        let v = load16(row * p.x_pitch, u);
        let column = u * 16u;
        sum += (squares(v.a, mean, column) + squares(v.b, mean, column + 4u))
            + (squares(v.c, mean, column + 8u) + squares(v.d, mean, column + 12u));
    }
    let factor = inverseSqrt(total(sum, lane, local) * p.inverse + p.epsilon);
    for (var u = lane; u < units; u += p.lanes) {
        let v = load16(row * p.x_pitch, u);
        let column = u * 16u;
        store16(row, u, Sixteen(
            result(v.a, mean, factor, row, column),
            result(v.b, mean, factor, row, column + 4u),
            result(v.c, mean, factor, row, column + 8u),
            result(v.d, mean, factor, row, column + 12u)));
    }
}
