// Partial ranges of f32 or f16: one for each channel and part, [parts, channels]; minmax_fold.wgsl folds the parts.
// TEAM: a workgroup of 64 threads goes through its part of a channel and folds it in workgroup memory. Otherwise each
// thread has a part of its own and nothing is shared: on lavapipe a kernel with any barrier is half as fast, also
// where it does not meet it.
struct Params {
    channels: u32,
    parts: u32,
    groups: u32,       // workgroups, or threads without TEAM, that have something to do
    // Rows: a channel is `blocks` runs of `run_rows` rows.
    units: u32,        // of a row: THREADS times sixteen elements
    columns: u32,
    x_pitch: u32,      // words from row to row
    run_rows: u32,
    rows: u32,         // of a channel, or of the matrix where the channels are columns
    // Columns: `lanes` of THREADS side by side, the others on other rows.
    lanes: u32,
    blocks: u32,       // of lanes times four columns
    // The update.
    mode: u32,         // 0 replaces, 1 takes the union, 2 averages
    constant: f32,     // weight of the newest batch in a moving average
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> scratch: array<vec4<u32>>;

//% if TEAM
const THREADS: u32 = 64u;   // that share a part
//% end
//% if !TEAM
const THREADS: u32 = 1u;
//% end

//% if COLUMNS
//% if TEAM
var<workgroup> shared_lo: array<vec4<i32>, 64>;
var<workgroup> shared_hi: array<vec4<i32>, 64>;
var<workgroup> shared_flags: array<vec4<u32>, 64>;
//% end

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
//% if TEAM
    let g = group.x + group.y * groups.x;
    let local = thread;
//% end
//% if !TEAM
    let g = (group.x + group.y * groups.x) * 64u + thread;
    let local = 0u;
//% end
    let part = g / p.blocks;
    let lane = local % p.lanes;
    let column = ((g - part * p.blocks) * p.lanes + lane) * 4u;
    let step = THREADS / p.lanes;
    let stride = step * p.parts;
    var e = nothing();
    // One past the last has no rows.
    let rows = select(0u, p.rows, g < p.groups && column < p.columns);
    let live = live4(column, p.columns);
    var row = part * step + local / p.lanes;
    while row < rows {
//% for i in 4
        {
            let r = row + #iu * stride;
            let inside = r < rows;
            e = include(e, load4(select(0u, r, inside) * p.x_pitch, column / 4u), live & vec4<bool>(inside));
        }
//% end
        row += 4u * stride;
    }
//% if TEAM
    shared_lo[local] = e.lo;
    shared_hi[local] = e.hi;
    shared_flags[local] = e.flags;
    for (var half = THREADS / 2u; half >= p.lanes; half /= 2u) {
        workgroupBarrier(); // the upper half written -> read by the lower
        if local < half {
            shared_lo[local] = min(shared_lo[local], shared_lo[local + half]);
            shared_hi[local] = max(shared_hi[local], shared_hi[local + half]);
            shared_flags[local] |= shared_flags[local + half];
        }
    }
    // Each thread reads what it wrote itself.
    e = Extrema(shared_lo[local], shared_hi[local], shared_flags[local]);
//% end
    if local < p.lanes && g < p.groups {
//% for j in 4
        if column + #ju < p.columns {
            scratch[part * p.channels + column + #ju] = vec4<u32>(bitcast<u32>(e.lo[#j]),
                bitcast<u32>(e.hi[#j]), e.flags[#j], 0u);
        }
//% end
    }
}
//% end
//% if !COLUMNS
//% if TEAM
var<workgroup> shared_lo: array<i32, 64>;
var<workgroup> shared_hi: array<i32, 64>;
var<workgroup> shared_flags: array<u32, 64>;
//% end

// The ends of all that there is, of what is not finite too; then whether such is among it, in which case it is gone
// through again and left out: what costs something at each element need not be done at each.
fn include0(e: Extrema, x: vec4<f32>, live: vec4<bool>) -> Extrema {
    let k = keys(bitcast<vec4<i32>>(x));
    return Extrema(min(e.lo, select(vec4<i32>(HIGHEST), k, live)), max(e.hi, select(vec4<i32>(LOWEST), k, live)), e.flags);
}
fn include1(e: Extrema, x: vec4<f32>, live: vec4<bool>) -> Extrema { return include(e, x, live); }
fn suspicious(e: Extrema) -> bool {
    let lo = min(min(e.lo.x, e.lo.y), min(e.lo.z, e.lo.w));
    let hi = max(max(e.hi.x, e.hi.y), max(e.hi.z, e.hi.w));
    // The keys of the infinities; without elements, the ends are beyond them the other way round.
    return (hi >= 0x7f800000) || (lo <= -0x7f800001);
}

// The steps of a part through its channel.
struct Walk { channel: u32, first: u32, last: u32, step: u32, local: u32 }
//% for pass in 2
fn walk#pass(w: Walk) -> Extrema {
    var e = nothing();
//% if !TEAM
    // Counts up rather than dividing at each step: integer division is one lane at a time on a CPU adapter.
    var row = w.first / p.units;
    var rest = w.first - row * p.units;
    var block = row / p.run_rows;
    var in_run = row - block * p.run_rows;
//% end
    for (var u = w.first; u < w.last; u += w.step) {
//% if TEAM
        let row = u / p.units;
        let rest = u - row * p.units;
        let block = row / p.run_rows;
        let in_run = row - block * p.run_rows;
//% end
        let at = ((block * p.channels + w.channel) * p.run_rows + in_run) * p.x_pitch;
        // Sixteen elements a thread and iteration, as four vectors.
        let unit = rest * THREADS + w.local;
        let column = unit * 16u;
        if column < p.columns {
            let v = load16(at, unit);
//% if WHOLE
            let all = vec4<bool>(true);
            e = include#pass(include#pass(include#pass(include#pass(e, v.a, all), v.b, all), v.c, all), v.d, all);
//% end
//% if !WHOLE
            e = include#pass(e, v.a, live4(column, p.columns));
            e = include#pass(e, v.b, live4(column + 4u, p.columns));
            e = include#pass(e, v.c, live4(column + 8u, p.columns));
            e = include#pass(e, v.d, live4(column + 12u, p.columns));
//% end
        }
//% if !TEAM
        rest += 1u;
        let wrap = rest == p.units;
        rest = select(rest, 0u, wrap);
        in_run += select(0u, 1u, wrap);
        let over = in_run == p.run_rows;
        in_run = select(in_run, 0u, over);
        block += select(0u, 1u, over);
//% end
    }
    return e;
}
//% end

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
//% if TEAM
    let g = group.x + group.y * groups.x;
    let local = thread;
//% end
//% if !TEAM
    let g = (group.x + group.y * groups.x) * 64u + thread;
    let local = 0u;
//% end
    let channel = g / p.parts;
    let part = g - channel * p.parts;
    // One past the last has nothing to go through.
    let end = select(0u, p.rows * p.units, g < p.groups);
//% if TEAM
    // Workgroups side by side: all that run at one time are in one stretch of memory.
    let walk = Walk(channel, part, end, p.parts, local);
//% end
//% if !TEAM
    // A stretch for each thread, which a CPU reads ahead: 1.3 times as fast on lavapipe.
    let each = (end + p.parts - 1u) / p.parts;
    let first = part * each;
    let walk = Walk(channel, first, min(first + each, end), 1u, local);
//% end
    var e = walk0(walk);
    if suspicious(e) { e = walk1(walk); }
    var lo = min(min(e.lo.x, e.lo.y), min(e.lo.z, e.lo.w));
    var hi = max(max(e.hi.x, e.hi.y), max(e.hi.z, e.hi.w));
    var flags = e.flags.x | e.flags.y | e.flags.z | e.flags.w;
//% if TEAM
    shared_lo[local] = lo;
    shared_hi[local] = hi;
    shared_flags[local] = flags;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier(); // the upper half written -> read by the lower
        if local < half {
            shared_lo[local] = min(shared_lo[local], shared_lo[local + half]);
            shared_hi[local] = max(shared_hi[local], shared_hi[local + half]);
            shared_flags[local] |= shared_flags[local + half];
        }
    }
    // Each thread reads what it wrote itself.
    lo = shared_lo[local];
    hi = shared_hi[local];
    flags = shared_flags[local];
//% end
    if local == 0u && g < p.groups {
        scratch[part * p.channels + channel] = vec4<u32>(bitcast<u32>(lo), bitcast<u32>(hi), flags, 0u);
    }
}
//% end
