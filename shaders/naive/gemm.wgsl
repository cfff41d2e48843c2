// C = A Bᵀ, one thread, one output, one product at a time: the baseline that the benchmarks compare with.
// a is [m, k], b is [n, k], both dense.
struct Params { m: u32, n: u32, k: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<AWord>;
@group(0) @binding(2) var<storage, read> b: array<AWord>;
@group(0) @binding(3) var<storage, read_write> out: array<Sum>;

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y >= p.m || id.x >= p.n { return; }
    let words = p.k / PER_WORD;
    var sum = Sum();
    for (var k = 0u; k < words; k++) { sum += product(a[id.y * words + k], b[id.x * words + k]); }
    out[id.y * p.n + id.x] = sum;
}
