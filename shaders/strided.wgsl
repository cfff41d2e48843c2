// A copy of a region of x into a region of out: along each dimension steps of any sign, and what lies outside of x
// filled, mirrored, held or repeated. A thread makes one unit of out: a whole word (or four), or the elements of one
// word. OUTER dimensions beside the innermost; BITS of an element, PER_WORD of them in a word.
struct Axis {
    length: u32,     // of the region written
    start: i32,      // where in x the first is
    step: i32,       // from one to the next in x
    outside: u32,    // of [0, n): 0 never, 1 filled, 2 mirrored, 3 the edge, 4 repeated
    n: u32,
    x_apart: u32,    // units between neighbours in x
    out_apart: u32,  // units between neighbours in out
    spare: u32,
}
struct Params {
    total: u32,      // threads
    row_units: u32,  // of a row of the region
    x_first: u32,    // unit of x at index 0
    x_column: u32,   // element of its row at index 0
    out_first: u32,  // unit of out where the region begins
    out_column: u32, // element of that unit
    out_end: u32,    // where the row of out ends, in elements from that unit
    fill: u32,       // the bits of one element
    axes: array<Axis, 8>,  // from the innermost
}
@group(0) @binding(0) var<uniform> p: Params;
//% if VEC
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;
//% end
//% if !VEC
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
//% end

// The index in x, or -1 where it is filled.
fn place(i: u32, d: u32) -> i32 {
    let n = i32(p.axes[d].n);
    var at = p.axes[d].start + i32(i) * p.axes[d].step;
    switch p.axes[d].outside {
        case 1u: { at = select(-1, at, at >= 0 && at < n); }
        case 2u: {
            let period = max(2 * (n - 1), 1);
            at = abs(at) % period;
            at = min(at, period - at);
            at = min(at, n - 1);
        }
        case 3u: { at = clamp(at, 0, n - 1); }
        case 4u: {
            at = at % n;
            at = select(at, at + n, at < 0);
        }
        default: {}
    }
    return at;
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = t / p.row_units;
    let unit = t - row * p.row_units;
    var rest = row;
    var from = p.x_first;
    var to = p.out_first + unit;
    var inside = true;
//% for d in OUTER
    {
        let length = p.axes[#du + 1u].length;
        let quotient = rest / length;
        let i = rest - quotient * length;
        let at = place(i, #du + 1u);
        inside = inside && at >= 0;
        from += u32(max(at, 0)) * p.axes[#du + 1u].x_apart;
        to += i * p.axes[#du + 1u].out_apart;
        rest = quotient;
    }
//% end
//% if VEC
    // The innermost dimension is a run.
    var y = vec4<u32>(p.fill);
    if inside { y = x[from + unit]; }
    out[to] = y;
//% end
//% if WORD
    let at = place(unit, 0u);
    var y = p.fill;
    if inside && at >= 0 { y = x[from + u32(at)]; }
    out[to] = y;
//% end
//% if PACKED
    let length = p.axes[0].length;
    var packed = 0u;
    var kept = 0u;
//% for i in PER_WORD
    {
        // An index before the region wraps to a large one.
        let e = unit * PER_WORD + #iu;
        let c = e - p.out_column;
        let at = place(min(c, length - 1u), 0u);
        var v = p.fill;
        if inside && at >= 0 {
            let column = p.x_column + u32(at);
            v = extractBits(x[from + column / PER_WORD], (column % PER_WORD) * BITS, BITS);
        }
        packed |= select(0u, v << (#iu * BITS), c < length);
        // Neighbours in the word stay; past the row's end there are zeros.
        kept |= select(0u, ((1u << BITS) - 1u) << (#iu * BITS), c >= length && e < p.out_end);
    }
//% end
    if kept != 0u { packed |= out[to] & kept; }
    out[to] = packed;
//% end
}
