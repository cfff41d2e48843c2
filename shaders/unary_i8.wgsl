// Activations of int8, among the integers: ReLU is max(q, zero_point), a clip [z + rne(lo / s), z + rne(hi / s)]. A
// thread takes sixteen neighbours of a row.
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> params: array<QuantParams>;   // one, of x and of out
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = t / p.units;
    let unit = t - row * p.units;
    let q = params[0];
    let qmin = qmin_of(q.limits);
    let qmax = qmax_of(q.limits);
    // Clamped first, so that the conversion cannot overflow.
    let lo = clamp(i32(round(clamp(divide(p.lo, q.scale), -65536.0, 65536.0))) + q.zero_point, qmin, qmax);
    let hi = clamp(i32(round(clamp(divide(p.hi, q.scale), -65536.0, 65536.0))) + q.zero_point, qmin, qmax);
//% for i in 4
    {
        let column = unit * 16u + #iu * 4u;
        if column < p.columns {
            // As the specification has it: the upper bound wins where they are the wrong way round.
            let y = min(max(unpack4xI8(x[row * p.x_pitch + column / 4u]), vec4<i32>(lo)), vec4<i32>(hi));
            let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.columns);
            out[row * p.out_pitch + column / 4u] = pack4xI8(select(vec4<i32>(), y, live));
        }
    }
//% end
}
