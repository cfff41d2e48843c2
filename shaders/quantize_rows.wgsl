// Dynamic quantization per row in one dispatch: range -> scale and zero point -> int8. A row is gone through twice.
// TEAM: by `lanes` threads of a workgroup of 64; the others of the workgroup are on other rows. Otherwise by a single
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
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;  // [rows, columns]
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

fn quad(q: QuantParams, column: u32, x: vec4<f32>) -> u32 { return quantized(q, x, live4(column, p.columns)); }

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
    for (var u = lane; u < units; u += p.lanes) {
        let v = load16(row * p.x_pitch, u);
        let column = u * 16u;
        e = include(e, v.a, live4(column, p.columns));
        e = include(e, v.b, live4(column + 4u, p.columns));
        e = include(e, v.c, live4(column + 8u, p.columns));
        e = include(e, v.d, live4(column + 12u, p.columns));
    }
    let q = params_of_row(p.scheme, e, slot, lane, local);
    if lane == 0u && row < p.rows { params[row] = q; }
    for (var u = lane; u < units; u += p.lanes) {
        let v = load16(row * p.x_pitch, u);
        let column = u * 16u;
        let words = vec4<u32>(quad(q, column, v.a), quad(q, column + 4u, v.b),
            quad(q, column + 8u, v.c), quad(q, column + 12u, v.d));
        let at = row * p.out_pitch + u * 4u;
//% if OUT_VEC
        out[at / 4u] = words;
//% end
//% if !OUT_VEC
        out[at] = words.x;
        if column + 4u < p.columns { out[at + 1u] = words.y; }
        if column + 8u < p.columns { out[at + 2u] = words.z; }
        if column + 12u < p.columns { out[at + 3u] = words.w; }
//% end
    }
}
