// Ranges -> scales and zero points, a thread for each.
struct Params { scheme: Scheme, count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> state: array<vec4<u32>>;                // [count] of RangeState
@group(0) @binding(2) var<storage, read_write> params: array<QuantParams>;       // [count]

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 64u + local;
    if i >= p.count { return; }
    let s = state[i];
    if s.w == 0u {
        params[i] = params_of_nothing(p.scheme);
    } else {
        params[i] = params_of_range(p.scheme, bitcast<f32>(s.x), bitcast<f32>(s.y));
    }
}
