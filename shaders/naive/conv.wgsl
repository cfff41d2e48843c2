// Convolution in f32, one thread, one output, one product at a time: the baseline that the benchmarks compare with.
// x is [batch, height, width, channels], w [outputs, 3, 3, channels]; stride 1, one pixel of padding.
struct Params { batch: u32, height: u32, width: u32, channels: u32, outputs: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let o = id.x % p.outputs;
    let pixel = id.x / p.outputs;
    let ox = pixel % p.width;
    let oy = pixel / p.width % p.height;
    let n = pixel / (p.width * p.height);
    if n >= p.batch { return; }
    var sum = 0.0;
    for (var ky = 0u; ky < 3u; ky++) {
        for (var kx = 0u; kx < 3u; kx++) {
            let y = oy + ky - 1u;
            let xx = ox + kx - 1u;
            if y >= p.height || xx >= p.width { continue; }
            let from_x = ((n * p.height + y) * p.width + xx) * p.channels;
            let from_w = ((o * 3u + ky) * 3u + kx) * p.channels;
            for (var c = 0u; c < p.channels; c++) { sum += x[from_x + c] * w[from_w + c]; }
        }
    }
    out[id.x] = sum;
}
