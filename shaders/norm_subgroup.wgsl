// norm.wgsl for rows that fit into the registers of 8 lanes: a subgroup goes through ROWS rows, of which each lane has
// QUADS fours, and reads them once. What the rows share, scale and bias, is read once for all of them. Each phase is
// norm.wgsl's, whose Params these are.
struct Params {
    rows: u32,
    columns: u32,
    units: u32,
    lanes: u32,
    x_pitch: u32,       // words from row to row
    out_pitch: u32,
    rms: u32,           // 1: the mean counts as 0
    epsilon: f32,
    inverse: f32,       // 1 / columns
    groups: u32,
    channels: u32,
    inner: u32,
    scale_step: u32,
    bias_step: u32,
    addend_pitch: u32,
    sum_pitch: u32,
    int8_pitch: u32,
    qmin: i32,          // MEASURED: those of a Scheme
    qmax: i32,
    symmetric_zero: i32,
    eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;

// Four of the reals as they are stored.
//% if X_F16
alias Four = vec2<u32>;
const WORDS: u32 = 2u;
fn wide(w: Four) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
fn narrow(x: vec4<f32>) -> Four { return vec2<u32>(pack_f16(x.x, x.y), pack_f16(x.z, x.w)); }
//% end
//% if !X_F16
alias Four = vec4<u32>;
const WORDS: u32 = 4u;
fn wide(w: Four) -> vec4<f32> { return bitcast<vec4<f32>>(w); }
fn narrow(x: vec4<f32>) -> Four { return bitcast<vec4<u32>>(x); }
//% end
//% if W_F16
alias Weights = vec2<u32>;
fn weights(w: Weights) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
//% end
//% if !W_F16
alias Weights = vec4<u32>;
fn weights(w: Weights) -> vec4<f32> { return bitcast<vec4<f32>>(w); }
//% end

@group(0) @binding(1) var<storage, read> x: array<Four>;                     // [rows, columns]
@group(0) @binding(2) var<storage, read> scale: array<Weights>;              // [columns]
//% if OUT
@group(0) @binding(3) var<storage, read_write> out: array<Four>;
//% end
@group(0) @binding(4) var<storage, read> bias: array<Weights>;
//% if ADD
@group(0) @binding(5) var<storage, read> addend: array<Four>;
//% end
//% if SUM
@group(0) @binding(6) var<storage, read_write> sum_out: array<Four>;
//% end
//% if INT8
@group(0) @binding(7) var<storage, read_write> int8: array<u32>;
fn packed(q: QuantParams, x: vec4<f32>) -> u32 { return quantized(q, x, vec4<bool>(true)); }
//% end
//% if GIVEN
@group(0) @binding(8) var<storage, read> params: array<QuantParams>;         // one
//% end
//% if MEASURED
@group(0) @binding(8) var<storage, read_write> params: array<QuantParams>;   // [rows]
fn least(k: vec4<i32>) -> i32 {
    let m = min(min(k.x, k.y), min(k.z, k.w));
//% for i in 8
    let m#i = subgroupBroadcast(m, #iu);
//% end
    return min(min(min(m0, m1), min(m2, m3)), min(min(m4, m5), min(m6, m7)));
}
//% end

fn total(x: vec4<f32>) -> f32 {
    let s = (x.x + x.y) + (x.z + x.w);
//% for i in 8
    let s#i = subgroupBroadcast(s, #iu);
//% end
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
}

@compute @workgroup_size(8, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * ROWS;
//% if GIVEN
    let q = params[0];
//% end
//% for i in ROWS
    // Past the last row the last one is computed again, and not stored.
    let live#i = first + #iu < p.rows;
    let row#i = min(first + #iu, p.rows - 1u);
    var s#i = vec4<f32>();
//% for j in QUADS
    var v#i_#j = wide(x[row#i * (p.x_pitch / WORDS) + #ju * 8u + lane]);
//% if ADD
    v#i_#j = stored(v#i_#j + wide(addend[row#i * (p.addend_pitch / WORDS) + #ju * 8u + lane]));
//% end
//% if SUM
    if live#i { sum_out[row#i * (p.sum_pitch / WORDS) + #ju * 8u + lane] = narrow(v#i_#j); }
//% end
    s#i += v#i_#j;
//% end
    let mean#i = select(total(s#i) * p.inverse, 0.0, p.rms != 0u);
    s#i = vec4<f32>();
//% for j in QUADS
    s#i += (v#i_#j - mean#i) * (v#i_#j - mean#i);
//% end
    let factor#i = inverseSqrt(total(s#i) * p.inverse + p.epsilon);
//% if MEASURED
    var e#i = nothing();
//% end
//% end
//% for j in QUADS
//% if SCALE
    let scale_#j = weights(scale[#ju * 8u + lane]);
//% end
//% if BIAS
    let bias_#j = weights(bias[#ju * 8u + lane]);
//% end
//% for i in ROWS
    v#i_#j = (v#i_#j - mean#i) * factor#i;
//% if SCALE
    v#i_#j *= scale_#j;
//% end
//% if BIAS
    v#i_#j += bias_#j;
//% end
//% if OUT
    if live#i { out[row#i * (p.out_pitch / WORDS) + #ju * 8u + lane] = narrow(v#i_#j); }
//% end
//% if GIVEN
    if live#i { int8[row#i * p.int8_pitch + #ju * 8u + lane] = packed(q, stored(v#i_#j)); }
//% end
//% if MEASURED
    v#i_#j = stored(v#i_#j);
    e#i = include(e#i, v#i_#j, vec4<bool>(true));
//% end
//% end
//% end
//% if MEASURED
    // Each row's parameters are chosen by one lane, of all rows at once: a division is long.
    var lo = HIGHEST;
    var hi = LOWEST;
//% for i in ROWS
    let lo#i = least(e#i.lo);
    // Keys are above LOWEST, so that none has no negative.
    let hi#i = -least(-e#i.hi);
    lo = select(lo, lo#i, lane == #iu);
    hi = select(hi, hi#i, lane == #iu);
//% end
    let scheme = Scheme(p.qmin, p.qmax, p.symmetric_zero, p.eps);
    var mine = params_of_nothing(scheme);
    if lo <= hi { mine = params_of_range(scheme, bitcast<f32>(key(lo)), bitcast<f32>(key(hi))); }
    if lane < ROWS && first + lane < p.rows { params[first + lane] = mine; }
//% for i in ROWS
    let q#i = QuantParams(subgroupBroadcast(mine.scale, #iu), subgroupBroadcast(mine.inv_scale, #iu),
        subgroupBroadcast(mine.zero_point, #iu), subgroupBroadcast(mine.limits, #iu));
//% for j in QUADS
    if live#i { int8[row#i * p.int8_pitch + #ju * 8u + lane] = packed(q#i, v#i_#j); }
//% end
//% end
//% end
}
