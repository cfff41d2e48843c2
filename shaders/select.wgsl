// a where the condition is not 0, else b, all broadcast; the bits of 32-bit elements or of pairs of 16-bit ones. A
// thread copies four neighbours of an output row.
@group(0) @binding(1) var<storage, read> condition: array<u32>;
@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<u32>;

//% if HALF
fn a_load(at: u32, column: u32) -> vec4<u32> {
    let word = at + column / 2u;
    return vec4<u32>(a[word], a[word] >> 16u, a[word + 1u], a[word + 1u] >> 16u) & vec4<u32>(0xffffu);
}
fn b_load(at: u32, column: u32) -> vec4<u32> {
    let word = at + column / 2u;
    return vec4<u32>(b[word], b[word] >> 16u, b[word + 1u], b[word + 1u] >> 16u) & vec4<u32>(0xffffu);
}
//% end
//% if !HALF
fn a_load(at: u32, column: u32) -> vec4<u32> {
    let word = at + column;
    return vec4<u32>(a[word], a[word + 1u], a[word + 2u], a[word + 3u]);
}
fn b_load(at: u32, column: u32) -> vec4<u32> {
    let word = at + column;
    return vec4<u32>(b[word], b[word + 1u], b[word + 2u], b[word + 3u]);
}
//% end

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = t / p.quads;
    let column = (t - row * p.quads) * 4u;
    var rest = row;
    var at = vec3<u32>();
//% for d in DIMS
    {
        let length = p.length[#du / 4u][#du % 4u];
        let quotient = rest / length;
        let index = rest - quotient * length;
        at += index * vec3<u32>(p.a_apart[#du / 4u][#du % 4u], p.b_apart[#du / 4u][#du % 4u],
            p.c_apart[#du / 4u][#du % 4u]);
        rest = quotient;
    }
//% end
    let word = at.x + column * p.step.x;
    var c = vec4<u32>(condition[word], condition[word + 1u], condition[word + 2u], condition[word + 3u]);
    var x = a_load(at.y, column * p.step.y);
    var y = b_load(at.z, column * p.step.z);
    if p.step.x == 0u { c = vec4<u32>(c.x); }
    if p.step.y == 0u { x = vec4<u32>(x.x); }
    if p.step.z == 0u { y = vec4<u32>(y.x); }
    let z = select(y, x, c != vec4<u32>(0u));
    let to = row * p.out_pitch;
//% if HALF
    let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.columns);
    let w = select(vec4<u32>(0u), z, live);
    out[to + column / 2u] = w.x | (w.y << 16u);
    if column + 2u < p.columns { out[to + column / 2u + 1u] = w.z | (w.w << 16u); }
//% end
//% if !HALF
    out[to + column] = z.x;
    if column + 1u < p.columns { out[to + column + 1u] = z.y; }
    if column + 2u < p.columns { out[to + column + 2u] = z.z; }
    if column + 3u < p.columns { out[to + column + 3u] = z.w; }
//% end
}
