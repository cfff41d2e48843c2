// Running sums along the middle of [outer, n, inner], f32 or i32 (which wraps around): a thread for each of
// [outer, inner].
struct Params {
    outputs: u32,      // outer * inner
    n: u32,
    inner: u32,
    exclusive: u32,    // 1: without the element itself
    backwards: u32,    // 1: from the end
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Number>;
@group(0) @binding(2) var<storage, read_write> out: array<Number>;

//% if FLOAT
alias Number = f32;
//% end
//% if !FLOAT
alias Number = i32;
//% end

@compute @workgroup_size(8, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 8u + local;
    if t >= p.outputs { return; }
    let row = t / p.inner;
    let base = row * p.n * p.inner + (t - row * p.inner);
    var sum = Number(0);
    for (var first = 0u; first < p.n; first += 4u) {
//% for i in 4
        {
            let k = first + #iu;
            let at = base + select(k, p.n - 1u - min(k, p.n - 1u), p.backwards == 1u) * p.inner;
            if k < p.n {
                let with_own = sum + x[at];
                out[at] = select(with_own, sum, p.exclusive == 1u);
                sum = with_own;
            }
        }
//% end
    }
}
