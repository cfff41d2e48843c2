// Activations, functions and casts of f32 and f16, sixteen neighbours of a row for each thread. NaN stays NaN: it is found by its
// bits, since a clamp may drop it.
fn act(x: vec4<f32>) -> vec4<f32> {
//% if ACTIVATE
    let nan = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(clamp(x, vec4<f32>(p.lo), vec4<f32>(p.hi)), x, nan);
//% end
//% if FUNCTION
    return apply(x, p.lo, p.hi);
//% end
//% if !ACTIVATE
//% if !FUNCTION
    return x;
//% end
//% end
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = quotient(t, p.units);
    let unit = t - row * p.units;
    let v = load16(row * p.x_pitch, unit);
    store16(row, unit, Sixteen(act(v.a), act(v.b), act(v.c), act(v.d)));
}
