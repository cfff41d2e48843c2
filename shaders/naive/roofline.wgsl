// What the device can do at most: `copy` moves bytes, `multiply_add` computes from registers.
@group(0) @binding(0) var<uniform> p: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

// Sixteen vectors a thread, neighbouring threads side by side.
@compute @workgroup_size(64, 1, 1)
fn copy(@builtin(global_invocation_id) id: vec3<u32>) {
    let step = p.x / 16u;
    for (var j = 0u; j < 16u; j++) { out[id.x + j * step] = x[id.x + j * step]; }
}

// Eight vectors of independent sums, 64 operations an iteration.
@compute @workgroup_size(64, 1, 1)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = x[0];
    let c = x[1];
    var s0 = vec4<f32>(f32(id.x));
    var s1 = s0 + 1.0;
    var s2 = s0 + 2.0;
    var s3 = s0 + 3.0;
    var s4 = s0 + 4.0;
    var s5 = s0 + 5.0;
    var s6 = s0 + 6.0;
    var s7 = s0 + 7.0;
    for (var i = 0u; i < p.x; i++) {
        s0 = s0 * b + c;
        s1 = s1 * b + c;
        s2 = s2 * b + c;
        s3 = s3 * b + c;
        s4 = s4 * b + c;
        s5 = s5 * b + c;
        s6 = s6 * b + c;
        s7 = s7 * b + c;
    }
    out[id.x] = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
}
