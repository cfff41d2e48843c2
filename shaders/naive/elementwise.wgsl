// A thread for each element (word, row), nothing shared: the baselines that the benchmarks compare with.
struct QuantParams { scale: f32, inv_scale: f32, zero_point: i32, limits: i32 }
@group(0) @binding(0) var<uniform> p: vec4<u32>; // rows, columns

fn quantized(x: vec4<f32>, inv_scale: f32, zero_point: i32) -> u32 {
    let q = vec4<i32>(round(clamp(x * inv_scale, vec4<f32>(-65536.0), vec4<f32>(65536.0)))) + zero_point;
    return pack4xI8(clamp(q, vec4<i32>(-128), vec4<i32>(127)));
}

@group(0) @binding(1) var<storage, read> x: array<f32>;

// Keys in the order of the reals, since there is no atomic minimum of f32.
@group(0) @binding(2) var<storage, read_write> range: array<atomic<u32>, 2>;
@compute @workgroup_size(64, 1, 1)
fn minmax(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y { return; }
    let bits = bitcast<u32>(x[i]);
    let key = select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
    atomicMax(&range[0], ~key);
    atomicMax(&range[1], key);
}

@group(0) @binding(2) var<storage, read> params: array<QuantParams>;
@group(0) @binding(3) var<storage, read_write> words: array<u32>;
@compute @workgroup_size(64, 1, 1)
fn quantize(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y / 4u { return; }
    let v = vec4<f32>(x[4u * i], x[4u * i + 1u], x[4u * i + 2u], x[4u * i + 3u]);
    words[i] = quantized(v, params[0].inv_scale, params[0].zero_point);
}

@group(0) @binding(1) var<storage, read> q: array<u32>;
@group(0) @binding(3) var<storage, read_write> reals: array<f32>;
@compute @workgroup_size(64, 1, 1)
fn dequantize(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y { return; }
    let byte = unpack4xI8(q[i / 4u])[i % 4u];
    reals[i] = f32(byte - params[0].zero_point) * params[0].scale;
}

// Symmetric per token; columns by four.
@group(0) @binding(2) var<storage, read_write> row_words: array<u32>;
@group(0) @binding(3) var<storage, read_write> row_params: array<QuantParams>;
@compute @workgroup_size(64, 1, 1)
fn quantize_rows(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.x { return; }
    let base = id.x * p.y;
    var largest = 1e-5;
    for (var i = 0u; i < p.y; i++) { largest = max(largest, abs(x[base + i])); }
    let scale = largest / 127.0;
    row_params[id.x] = QuantParams(scale, 1.0 / scale, 0, 0);
    for (var i = 0u; i < p.y; i += 4u) {
        let v = vec4<f32>(x[base + i], x[base + i + 1u], x[base + i + 2u], x[base + i + 3u]);
        row_words[(base + i) / 4u] = quantized(v, 1.0 / scale, 0);
    }
}

// The largest of 3x3 with stride 2 and one pixel of padding; images of p.x by p.x by p.y channels.
@group(0) @binding(2) var<storage, read_write> pooled: array<f32>;
@compute @workgroup_size(64, 1, 1)
fn pool(@builtin(global_invocation_id) id: vec3<u32>) {
    let out_size = (p.x - 1u) / 2u + 1u;
    let pixel = id.x / p.y;
    let n = pixel / (out_size * out_size);
    if n >= p.z { return; }
    let oy = pixel / out_size % out_size;
    let ox = pixel % out_size;
    var largest = -3e38;
    for (var ky = 0u; ky < 3u; ky++) {
        for (var kx = 0u; kx < 3u; kx++) {
            let y = 2u * oy + ky - 1u;
            let xx = 2u * ox + kx - 1u;
            if y < p.x && xx < p.x { largest = max(largest, x[((n * p.x + y) * p.x + xx) * p.y + id.x % p.y]); }
        }
    }
    pooled[id.x] = largest;
}

// A sum of two tensors of one shape.
@group(0) @binding(2) var<storage, read> other: array<f32>;
@compute @workgroup_size(64, 1, 1)
fn add(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y { return; }
    reals[i] = x[i] + other[i];
}

@group(0) @binding(2) var<storage, read_write> activated: array<f32>;
@compute @workgroup_size(64, 1, 1)
fn unary(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y { return; }
    activated[i] = max(x[i], 0.0);
}

// A batch of matrices transposed: [z, x, y] -> [z, y, x].
@compute @workgroup_size(64, 1, 1)
fn permute(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y * p.z { return; }
    let row = i / p.x;
    activated[i] = x[(row / p.y * p.x + i % p.x) * p.y + row % p.y];
}

// Affine scales by the device's own division.
struct RangeState { min: f32, max: f32, flags: u32, batches: u32 }
@group(0) @binding(1) var<storage, read> states: array<RangeState>;
@compute @workgroup_size(64, 1, 1)
fn quant_params(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if i >= p.x * p.y { return; }
    let lo = min(states[i].min, 0.0);
    let scale = max((max(states[i].max, 0.0) - lo) / 255.0, 1.1920929e-7);
    made_params[i] = QuantParams(scale, 1.0 / scale, clamp(-128 - i32(round(lo / scale)), -128, 127), 0);
}
@group(0) @binding(2) var<storage, read_write> made_params: array<QuantParams>;

// Rows of p.y: a thread for each, the exponentials made twice.
@compute @workgroup_size(64, 1, 1)
fn softmax(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.x { return; }
    let base = id.x * p.y;
    var most = -3e38;
    for (var c = 0u; c < p.y; c++) { most = max(most, x[base + c]); }
    var sum = 0.0;
    for (var c = 0u; c < p.y; c++) { sum += exp(x[base + c] - most); }
    for (var c = 0u; c < p.y; c++) { activated[base + c] = exp(x[base + c] - most) / sum; }
}

@compute @workgroup_size(64, 1, 1)
fn norm(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.x { return; }
    let base = id.x * p.y;
    var mean = 0.0;
    for (var c = 0u; c < p.y; c++) { mean += x[base + c]; }
    mean /= f32(p.y);
    var variance = 0.0;
    for (var c = 0u; c < p.y; c++) { variance += (x[base + c] - mean) * (x[base + c] - mean); }
    let factor = 1.0 / sqrt(variance / f32(p.y) + 1e-5);
    for (var c = 0u; c < p.y; c++) { reals[base + c] = (x[base + c] - mean) * factor * other[c]; }
}
