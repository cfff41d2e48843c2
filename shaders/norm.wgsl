// Normalization by rows in one dispatch: (x - mean) / sqrt(variance + epsilon) * scale + bias. A row is gone through
// for its mean, for the squares of what differs from it, and for the result: the mean of squares less the square of
// the mean would lose all digits where the mean is large. It is read once where each thread can hold its part of it: HELD
// sixteens at most.
// ADD: what is normalized is x + addend, which SUM stores too. OUT stores the result; GIVEN and MEASURED its int8, by
// parameters that are there or by those of each row's range, for which a row is gone through once more. They round
// wherever the separate kernels do, so that the integers are the same, and their rows are whole sixteens.
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
    addend_pitch: u32,  // words from row to row
    sum_pitch: u32,
    int8_pitch: u32,
    qmin: i32,          // MEASURED: those of a Scheme
    qmax: i32,
    symmetric_zero: i32,
    eps: f32,
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

//% if !ADD
fn load(row: u32, unit: u32) -> Sixteen { return load16(row * p.x_pitch, unit); }
//% end
//% if ADD
@group(0) @binding(5) var<storage, read> addend: array<vec4<u32>>;
fn load(row: u32, unit: u32) -> Sixteen {
    let v = load16(row * p.x_pitch, unit);
//% if X_F16
    let at = row * p.addend_pitch / 4u + unit * 2u;
    let s = addend[at];
    let t = addend[at + 1u];
    return Sixteen(stored(v.a + widen(s.xy)), stored(v.b + widen(s.zw)),
        stored(v.c + widen(t.xy)), stored(v.d + widen(t.zw)));
//% end
//% if !X_F16
    let at = row * p.addend_pitch / 4u + unit * 4u;
    return Sixteen(v.a + bitcast<vec4<f32>>(addend[at]), v.b + bitcast<vec4<f32>>(addend[at + 1u]),
        v.c + bitcast<vec4<f32>>(addend[at + 2u]), v.d + bitcast<vec4<f32>>(addend[at + 3u]));
//% end
}
//% end
//% if SUM
@group(0) @binding(6) var<storage, read_write> sum_out: array<vec4<u32>>;
fn store_sum(row: u32, unit: u32, v: Sixteen) {
//% if X_F16
    let at = row * p.sum_pitch / 4u + unit * 2u;
    sum_out[at] = vec4<u32>(pack_f16(v.a.x, v.a.y), pack_f16(v.a.z, v.a.w), pack_f16(v.b.x, v.b.y),
        pack_f16(v.b.z, v.b.w));
    sum_out[at + 1u] = vec4<u32>(pack_f16(v.c.x, v.c.y), pack_f16(v.c.z, v.c.w), pack_f16(v.d.x, v.d.y),
        pack_f16(v.d.z, v.d.w));
//% end
//% if !X_F16
    let at = row * p.sum_pitch / 4u + unit * 4u;
    sum_out[at] = bitcast<vec4<u32>>(v.a);
    sum_out[at + 1u] = bitcast<vec4<u32>>(v.b);
    sum_out[at + 2u] = bitcast<vec4<u32>>(v.c);
    sum_out[at + 3u] = bitcast<vec4<u32>>(v.d);
//% end
}
//% end
//% if GIVEN
@group(0) @binding(8) var<storage, read> params: array<QuantParams>;         // one
//% end
//% if MEASURED
@group(0) @binding(8) var<storage, read_write> params: array<QuantParams>;   // [rows]
//% end
//% if INT8
@group(0) @binding(7) var<storage, read_write> int8: array<vec4<u32>>;       // [rows, columns]
fn packed(q: QuantParams, x: vec4<f32>) -> u32 { return quantized(q, x, vec4<bool>(true)); }
fn store_int8(row: u32, unit: u32, q: QuantParams, v: Sixteen) {
    int8[row * p.int8_pitch / 4u + unit] =
        vec4<u32>(packed(q, v.a), packed(q, v.b), packed(q, v.c), packed(q, v.d));
}
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
fn normalized(v: Sixteen, mean: f32, factor: f32, row: u32, column: u32) -> Sixteen {
    return Sixteen(
        result(v.a, mean, factor, row, column),
        result(v.b, mean, factor, row, column + 4u),
        result(v.c, mean, factor, row, column + 8u),
        result(v.d, mean, factor, row, column + 12u));
}
//% if INT8
fn as_stored(v: Sixteen) -> Sixteen { return Sixteen(stored(v.a), stored(v.b), stored(v.c), stored(v.d)); }
//% end
fn squares(x: vec4<f32>, mean: f32, column: u32) -> vec4<f32> {
    let d = live(x - mean, column);
    return d * d;
}

fn sum_of(u: u32, v: Sixteen) -> vec4<f32> {
    let column = u * 16u;
    return (live(v.a, column) + live(v.b, column + 4u)) + (live(v.c, column + 8u) + live(v.d, column + 12u));
}
fn squares_of(u: u32, v: Sixteen, mean: f32) -> vec4<f32> {
    let column = u * 16u;
    return (squares(v.a, mean, column) + squares(v.b, mean, column + 4u))
        + (squares(v.c, mean, column + 8u) + squares(v.d, mean, column + 12u));
}
//% if MEASURED
fn include_all(e: Extrema, r: Sixteen) -> Extrema {
    let all = vec4<bool>(true);
    return include(include(include(include(e, r.a, all), r.b, all), r.c, all), r.d, all);
}
//% end

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
    // What a thread holds of a row, or reads again: what is normalized, then where it is MEASURED the result.
//% for h in HELD
    let u#h = lane + #hu * p.lanes;
    var v#h = Sixteen();
    if u#h < units {
        v#h = load(row, u#h);
//% if SUM
        store_sum(row, u#h, v#h);
//% end
    }
//% end
    var mean = 0.0;
    if p.rms == 0u {
        var sum = vec4<f32>();
//% for h in HELD
        if u#h < units { sum += sum_of(u#h, v#h); }
//% end
//% if !HELD
        for (var u = lane; u < units; u += p.lanes) { sum += sum_of(u, load(row, u)); }
//% end
        mean = total(sum, lane, local) * p.inverse;
    }
    var sum = vec4<f32>();
//% for h in HELD
    if u#h < units { sum += squares_of(u#h, v#h, mean); }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) {
        let v = load(row, u);
//% if SUM
        store_sum(row, u, v);
//% end
        sum += squares_of(u, v, mean);
    }
//% end
//% if GIVEN
    let q = params[0];
//% end
//% if MEASURED
    var e = nothing();
//% end
    let factor = inverseSqrt(total(sum, lane, local) * p.inverse + p.epsilon);
//% for h in HELD
    if u#h < units {
        let y = normalized(v#h, mean, factor, row, u#h * 16u);
//% if OUT
        store16(row, u#h, y);
//% end
//% if GIVEN
        store_int8(row, u#h, q, as_stored(y));
//% end
//% if MEASURED
        v#h = as_stored(y);
        e = include_all(e, v#h);
//% end
    }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) {
        let y = normalized(load(row, u), mean, factor, row, u * 16u);
//% if OUT
        store16(row, u, y);
//% end
//% if GIVEN
        store_int8(row, u, q, as_stored(y));
//% end
//% if MEASURED
        e = include_all(e, as_stored(y));
//% end
    }
//% end
//% if MEASURED
    let q = params_of_row(Scheme(p.qmin, p.qmax, p.symmetric_zero, p.eps), e, slot, lane, local);
    if lane == 0u && row < p.rows { params[row] = q; }
//% for h in HELD
    if u#h < units { store_int8(row, u#h, q, v#h); }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) {
        store_int8(row, u, q, as_stored(normalized(load(row, u), mean, factor, row, u * 16u)));
    }
//% end
//% end
}
