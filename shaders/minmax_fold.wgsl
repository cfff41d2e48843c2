// Folds the partial ranges [parts, channels] of minmax.wgsl and updates each channel's state. LANES threads fold one
// channel: 64, or 1 where the parts are few.
struct Params {
    channels: u32,
    parts: u32,
    groups: u32,
    units: u32,
    columns: u32,
    x_pitch: u32,
    run_rows: u32,
    rows: u32,
    lanes: u32,
    blocks: u32,
    mode: u32,
    constant: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> scratch: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> state: array<RangeState>;   // [channels]

//% if TREE
var<workgroup> shared_lo: array<i32, 64>;
var<workgroup> shared_hi: array<i32, 64>;
var<workgroup> shared_flags: array<u32, 64>;
//% end

// In place: PyTorch's m + c * (batch - m).
fn average(m: u32, batch: u32) -> u32 {
    let old = bitcast<f32>(m);
    return bitcast<u32>(old + p.constant * (bitcast<f32>(batch) - old));
}
fn update(channel: u32, lo: i32, hi: i32, flags: u32) {
    var s = state[channel];
    if p.mode == 0u { s = RangeState(0u, 0u, 0u, 0u); }
    s.flags |= flags;
    if s.batches == 0u { s = RangeState(0x7f800000u, 0xff800000u, s.flags, 0u); }
    if lo <= hi {
        let batch_lo = bitcast<u32>(key(lo));
        let batch_hi = bitcast<u32>(key(hi));
        if s.batches == 0u {
            s.lo = batch_lo;
            s.hi = batch_hi;
        } else if p.mode == 1u {
            s.lo = select(s.lo, batch_lo, lo < key(bitcast<i32>(s.lo)));
            s.hi = select(s.hi, batch_hi, hi > key(bitcast<i32>(s.hi)));
        } else {
            s.lo = average(s.lo, batch_lo);
            s.hi = average(s.hi, batch_hi);
        }
        s.batches += 1u;
    }
    state[channel] = s;
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let g = group.x + group.y * groups.x;
//% if TREE
    let channel = g;
    let first = local;
//% end
//% if !TREE
    let channel = g * 64u + local;
    let first = 0u;
//% end
    let step = select(1u, 64u, TREE != 0u);
    var lo = HIGHEST;
    var hi = LOWEST;
    var flags = 0u;
    let parts = select(0u, p.parts, channel < p.channels);
    for (var part = first; part < parts; part += step) {
        let v = scratch[part * p.channels + channel];
        lo = min(lo, bitcast<i32>(v.x));
        hi = max(hi, bitcast<i32>(v.y));
        flags |= v.z;
    }
//% if TREE
    shared_lo[local] = lo;
    shared_hi[local] = hi;
    shared_flags[local] = flags;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier(); // the upper half written -> read by the lower
        if local < half {
            shared_lo[local] = min(shared_lo[local], shared_lo[local + half]);
            shared_hi[local] = max(shared_hi[local], shared_hi[local + half]);
            shared_flags[local] |= shared_flags[local + half];
        }
    }
    if local == 0u && channel < p.channels { update(channel, shared_lo[0], shared_hi[0], shared_flags[0]); }
//% end
//% if !TREE
    if channel < p.channels { update(channel, lo, hi, flags); }
//% end
}
