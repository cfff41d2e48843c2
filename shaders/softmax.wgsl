// Softmax of scale * x + mask by rows, or its logarithm, in one dispatch. A row is gone through twice: for its largest
// and the sum of exponentials, which is scaled down whenever a larger one is met, and for the result. It is read once
// where each thread can hold its part of it: HELD sixteens at most.
// TEAM: by `lanes` threads of a workgroup of 64; the others of the workgroup are on other rows. Otherwise by a single
// thread of a workgroup of 8, without barriers.
struct Params {
    rows: u32,
    columns: u32,
    units: u32,         // sixteens in a row
    lanes: u32,         // a power of two, at most 64; 1 without TEAM
    x_pitch: u32,       // words from row to row
    out_pitch: u32,     // words from row to row
    scale: f32,
    logarithm: u32,     // 1 for the logarithm
    nan: u32,           // its bits: WGSL has no such constant
    // A row is (index 0, index 1, index 2) of [.., length_1, length_2]; the mask's rows lie so many words apart.
    length_1: u32,
    length_2: u32,
    mask_0: u32,
    mask_1: u32,
    mask_2: u32,
    mask_column: u32,   // 0 where a row of the mask has one element for all columns, else 1
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> mask: array<u32>;

const LOWEST: f32 = -0x1.fffffep+127;

// Of what a thread has seen: the largest, the sum of e^(x - largest), and the largest magnitude in bits, minus infinity
// left out: from 0x7f800000 on the row is all NaN.
struct Seen { most: f32, sum: f32, magnitude: u32 }

//% if !TEAM
const THREADS: u32 = 8u;
//% end
//% if TEAM
const THREADS: u32 = 64u;
var<workgroup> seen_by: array<Seen, 64>;
//% end

// e^d of d <= 0. Below -104 it is 0 in f32, and drivers differ.
fn weight(d: f32) -> f32 { return select(exp(max(d, -104.0)), 0.0, d < -104.0); }
fn weights(d: vec4<f32>) -> vec4<f32> {
    return select(exp(max(d, vec4<f32>(-104.0))), vec4<f32>(), d < vec4<f32>(-104.0));
}

fn mask_of(row: u32) -> u32 {
    let i = row / p.length_2;
    let j = i / p.length_1;
    return j * p.mask_0 + (i - j * p.length_1) * p.mask_1 + (row - i * p.length_2) * p.mask_2;
}

fn score(v: vec4<f32>, mask_row: u32, column: u32) -> vec4<f32> {
    let s = v * p.scale;
//% if !MASK
    return s;
//% end
//% if MASK
//% if X_F16
    let at = mask_row + column * p.mask_column / 2u;
    let m = vec4<f32>(unpack2x16float(mask[at]), unpack2x16float(mask[at + 1u]));
//% end
//% if !X_F16
    let at = mask_row + column * p.mask_column;
    let m = bitcast<vec4<f32>>(vec4<u32>(mask[at], mask[at + 1u], mask[at + 2u], mask[at + 3u]));
//% end
    return s + select(m, m.xxxx, p.mask_column == 0u);
//% end
}

fn magnitude(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    return select(bits & vec4<u32>(0x7fffffffu), vec4<u32>(), bits == vec4<u32>(0xff800000u));
}

//% if OUT_VEC
// Rows are whole sixteens.
fn live(column: u32) -> vec4<bool> { return vec4<bool>(true); }
//% end
//% if !OUT_VEC
fn live(column: u32) -> vec4<bool> { return live4(column, p.columns); }
//% end

fn join(a: Seen, b: Seen) -> Seen {
    let most = max(a.most, b.most);
    let sum = a.sum * weight(a.most - most) + b.sum * weight(b.most - most);
    return Seen(most, sum, max(a.magnitude, b.magnitude));
}

fn result(x: vec4<f32>, s: Seen, factor: f32) -> vec4<f32> {
    let d = x - s.most;
    let y = select(weights(d) * factor, d - factor, p.logarithm == 1u);
    let wrong = s.magnitude >= 0x7f800000u || s.sum < 0.5;
    return select(y, vec4<f32>(bitcast<f32>(p.nan)), wrong);
}

// What a unit of a row has of scores.
fn scores(row: u32, mask_row: u32, u: u32) -> Sixteen {
    let v = load16(row * p.x_pitch, u);
    let column = u * 16u;
    return Sixteen(score(v.a, mask_row, column), score(v.b, mask_row, column + 4u),
        score(v.c, mask_row, column + 8u), score(v.d, mask_row, column + 12u));
}
fn seen(s: Seen, u: u32, v: Sixteen) -> Seen {
    let column = u * 16u;
//% for i in 4
    let live_#i = live(column + #iu * 4u);
//% end
    let a = select(vec4<f32>(LOWEST), v.a, live_0);
    let b = select(vec4<f32>(LOWEST), v.b, live_1);
    let c = select(vec4<f32>(LOWEST), v.c, live_2);
    let d = select(vec4<f32>(LOWEST), v.d, live_3);
    let top = max(max(a, b), max(c, d));
    let most = max(s.most, max(max(top.x, top.y), max(top.z, top.w)));
    let e = select(vec4<f32>(), weights(a - most), live_0) + select(vec4<f32>(), weights(b - most), live_1)
        + select(vec4<f32>(), weights(c - most), live_2) + select(vec4<f32>(), weights(d - most), live_3);
    let m = max(max(magnitude(a), magnitude(b)), max(magnitude(c), magnitude(d)));
    return Seen(most, s.sum * weight(s.most - most) + ((e.x + e.y) + (e.z + e.w)),
        max(s.magnitude, max(max(m.x, m.y), max(m.z, m.w))));
}
fn keep(row: u32, u: u32, v: Sixteen, s: Seen, factor: f32) {
    store16(row, u, Sixteen(result(v.a, s, factor), result(v.b, s, factor), result(v.c, s, factor),
        result(v.d, s, factor)));
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
    let mask_row = mask_of(row);
    var s = Seen(LOWEST, 0.0, 0u);
//% for h in HELD
    let u#h = lane + #hu * p.lanes;
    var v#h = Sixteen();
    if u#h < units {
        v#h = scores(row, mask_row, u#h);
        s = seen(s, u#h, v#h);
    }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) { s = seen(s, u, scores(row, mask_row, u)); }
//% end
//% if TEAM
    seen_by[local] = s;
    for (var step = p.lanes / 2u; step > 0u; step /= 2u) {
        workgroupBarrier(); // the upper half of each row's lanes written -> read by the lower
        if lane < step { seen_by[local] = join(seen_by[local], seen_by[local + step]); }
    }
    workgroupBarrier(); // joined by the first lane -> read by all of the row's
    s = seen_by[local - lane];
//% end
    let factor = select(1.0 / s.sum, log(s.sum), p.logarithm == 1u);
//% for h in HELD
    if u#h < units { keep(row, u#h, v#h, s, factor); }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) { keep(row, u, scores(row, mask_row, u), s, factor); }
//% end
}
