// Dynamic quantization per row in one dispatch: range -> scale and zero point -> int8. A row is read once where each thread
// can hold its part of it (HELD sixteens at most), else twice. TEAM: by `lanes` threads of a workgroup of 64; the others of the workgroup are on other rows. Otherwise by a single
// thread of a workgroup of 8, without barriers: on lavapipe they make every load take twice as long.
struct Params {
    scheme: Scheme,
    rows: u32,
    columns: u32,
    units: u32,       // sixteens in a row
    lanes: u32,       // a power of two, at most 64; 1 without TEAM
    x_pitch: u32,     // words from row to row
    out_pitch: u32,   // words from row to row
}
@group(0) @binding(0) var<uniform> p: Params;
//% if OUT_VEC
//% if WIDE
@group(0) @binding(2) var<storage, read_write> out: array<vec2<u64>>;  // [rows, columns]
//% end
//% if !WIDE
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;  // [rows, columns]
//% end
//% end
//% if !OUT_VEC
@group(0) @binding(2) var<storage, read_write> out: array<u32>;        // [rows, columns], padding written as zeros
//% end
@group(0) @binding(3) var<storage, read_write> params: array<QuantParams>;   // [rows]

//% if !TEAM
const THREADS: u32 = 8u;
//% end
//% if TEAM
const THREADS: u32 = 64u;
//% end

fn seen(e: Extrema, u: u32, v: Sixteen) -> Extrema {
    let column = u * 16u;
    var all = include(e, v.a, live4(column, p.columns));
    all = include(all, v.b, live4(column + 4u, p.columns));
    all = include(all, v.c, live4(column + 8u, p.columns));
    return include(all, v.d, live4(column + 12u, p.columns));
}
fn quad(q: QuantParams, column: u32, x: vec4<f32>) -> u32 { return quantized(q, x, live4(column, p.columns)); }
fn keep(row: u32, u: u32, q: QuantParams, v: Sixteen) {
    let column = u * 16u;
    let words = vec4<u32>(quad(q, column, v.a), quad(q, column + 4u, v.b),
        quad(q, column + 8u, v.c), quad(q, column + 12u, v.d));
    let at = row * p.out_pitch + u * 4u;
//% if OUT_VEC
//% if WIDE
    out[at / 4u] = join_words(words);
//% end
//% if !WIDE
    out[at / 4u] = words;
//% end
//% end
//% if !OUT_VEC
    out[at] = words.x;
    if column + 4u < p.columns { out[at + 1u] = words.y; }
    if column + 8u < p.columns { out[at + 2u] = words.z; }
    if column + 12u < p.columns { out[at + 3u] = words.w; }
//% end
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
    var e = nothing();
//% for h in HELD
    let u#h = lane + #hu * p.lanes;
    var v#h = Sixteen();
    if u#h < units {
        v#h = load16(row * p.x_pitch, u#h);
        e = seen(e, u#h, v#h);
    }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) { e = seen(e, u, load16(row * p.x_pitch, u)); }
//% end
    let q = params_of_row(p.scheme, e, slot, lane, local);
    if lane == 0u && row < p.rows { params[row] = q; }
//% for h in HELD
    if u#h < units { keep(row, u#h, q, v#h); }
//% end
//% if !HELD
    for (var u = lane; u < units; u += p.lanes) { keep(row, u, q, load16(row * p.x_pitch, u)); }
//% end
}
