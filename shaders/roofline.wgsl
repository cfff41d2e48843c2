// What a device does at most: copies, or multiplies and adds in registers. `alias Vector` says in what type.
struct Params {
    count: u32,       // vectors to copy, or iterations
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;

//% if COPY
// Sixteen vectors a thread, neighbouring threads side by side.
@compute @workgroup_size(64, 1, 1)
fn copy(@builtin(global_invocation_id) id: vec3<u32>) {
    let step = p.count / 16u;
    for (var j = 0u; j < 16u; j++) { out[id.x + j * step] = x[id.x + j * step]; }
}
//% end
//% if REALS
// Eight vectors of independent sums, 64 operations an iteration. Each sum tends to 1.
@compute @workgroup_size(64, 1, 1)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = Vector(bitcast<vec4<f32>>(x[0]));
    let c = Vector(bitcast<vec4<f32>>(x[1]));
    let begin = Vector(vec4<f32>(f32(id.x % 8u)));
    //% for i in 8
    var s#i = begin + Vector(vec4<f32>(#i.0));
    //% end
    for (var i = 0u; i < p.count; i++) {
        //% for i in 8
        s#i = s#i * b + c;
        //% end
    }
    out[id.x] = bitcast<vec4<u32>>(vec4<f32>(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7));
}
//% end
//% if BYTES
// Sixteen chains of four products and four sums, 128 operations an iteration.
@compute @workgroup_size(64, 1, 1)
fn multiply_add_bytes(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = x[2].x;
    //% for i in 16
    var s#i = id.x * 16u + #iu;
    //% end
    for (var i = 0u; i < p.count; i++) {
        //% for i in 16
        s#i += u32(dot4I8Packed(s#i, b));
        //% end
    }
    out[id.x] = vec4<u32>(s0 ^ s1 ^ s2 ^ s3, s4 ^ s5 ^ s6 ^ s7, s8 ^ s9 ^ s10 ^ s11, s12 ^ s13 ^ s14 ^ s15);
}
//% end
