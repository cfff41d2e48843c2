// [outer, n, inner] of 32-bit words to [outer, inner]. What is made of the words is in fold_*.wgsl: Acc, start, include,
// join and finish. Four accumulators each take every fourth element, so that sums stay short.
// TEAM: `lanes` threads of a workgroup of 64 come to one output. Otherwise a single thread of a workgroup of 8, without
// barriers.
struct Params {
    outputs: u32,    // outer * inner
    n: u32,
    inner: u32,
    lanes: u32,      // a power of two, at most 64; 1 without TEAM
    flip: u32,       // extremes: all ones to find the smallest
    latest: u32,     // places: 1 for the last of equals
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;            // [outer, n, inner]
@group(0) @binding(2) var<storage, read_write> out: array<u32>;    // [outer, inner]

//% if !TEAM
const THREADS: u32 = 8u;
//% end
//% if TEAM
const THREADS: u32 = 64u;
var<workgroup> found: array<Acc, 64>;
//% end

@compute @workgroup_size(THREADS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Neighbours read neighbours: along n where it is innermost, else outputs.
    let slots = THREADS / p.lanes;
    let along = p.inner == 1u;
    let slot = select(local % slots, local / p.lanes, along);
    let lane = select(local / slots, local % p.lanes, along);
    let output = (group.x + group.y * groups.x) * slots + slot;
    let row = output / p.inner;
    let base = row * p.n * p.inner + (output - row * p.inner);
    let n = select(0u, p.n, output < p.outputs);
//% for i in 4
    var acc_#i = start();
//% end
    for (var k = lane; k < n; k += 4u * p.lanes) {
//% for i in 4
        let k_#i = k + #iu * p.lanes;
        acc_#i = include(acc_#i, x[base + min(k_#i, n - 1u) * p.inner], k_#i, k_#i < n);
//% end
    }
    var acc = join(join(acc_0, acc_1), join(acc_2, acc_3));
//% if TEAM
    let own = lane * slots + slot;
    found[own] = acc;
    for (var step = p.lanes / 2u; step > 0u; step /= 2u) {
        workgroupBarrier(); // the upper half of each output's lanes written -> read by the lower
        if lane < step { found[own] = join(found[own], found[own + step * slots]); }
    }
    acc = found[own];
//% end
    if lane == 0u && output < p.outputs { out[output] = finish(acc); }
}
