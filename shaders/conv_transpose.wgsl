// The transpose of a convolution, over channels-last images: a thread computes four output channels of one pixel and
// gathers the taps whose windows reach it. x is [n, height, width, channels], weights [taps * channels in the group, n].
struct Params {
    total: u32,       // threads
    quads: u32,       // fours of outputs
    outputs: u32,
    per_in: u32,      // channels of a group
    per_out: u32,     // outputs of a group
    x_pitch: u32,     // words from pixel to pixel
    b_pitch: u32,     // words from row to row of the weights
    out_pitch: u32,   // words from pixel to pixel
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    taps: u32,
    kernel_x: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    dilation_y: u32,
    dilation_x: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;   // [n]
@group(0) @binding(4) var<storage, read_write> out: array<u32>;
//% if OUT_I8
@group(0) @binding(5) var<storage, read> out_params: array<QuantParams>;
//% end

// Four neighbours from the i-th of a row of words, which begins a quad.
fn b_quad(base: u32, i: u32) -> vec4<f32> {
//% if F16
    return vec4<f32>(unpack2x16float(b[base + i / 2u]), unpack2x16float(b[base + i / 2u + 1u]));
//% end
//% if !F16
    return bitcast<vec4<f32>>(vec4<u32>(b[base + i], b[base + i + 1u], b[base + i + 2u], b[base + i + 3u]));
//% end
}
fn x_one(base: u32, i: u32) -> f32 {
//% if F16
    return unpack2x16float(x[base + i / 2u])[i % 2u];
//% end
//% if !F16
    return bitcast<f32>(x[base + i]);
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
    let row = t / p.quads;
    let column = (t - row * p.quads) * 4u;
    let line = row / p.out_width;
    let n = line / p.out_height;
    // From the start of the padding.
    let top = line - n * p.out_height + p.pad_y;
    let left = row - line * p.out_width + p.pad_x;
    // The first channel of each output's group.
    let channel = min(vec4<u32>(column, column + 1u, column + 2u, column + 3u), vec4<u32>(p.outputs - 1u))
        / p.per_out * p.per_in;
    var y = vec4<f32>();
    for (var tap = 0u; tap < p.taps; tap++) {
        let tap_y = tap / p.kernel_x;
        // Before the image, the difference wraps to a large number.
        let from_y = top - tap_y * p.dilation_y;
        let from_x = left - (tap - tap_y * p.kernel_x) * p.dilation_x;
        let image_y = from_y / p.stride_y;
        let image_x = from_x / p.stride_x;
        let hit = from_y <= top && from_x <= left && image_y < p.height && image_x < p.width
            && image_y * p.stride_y == from_y && image_x * p.stride_x == from_x;
        if hit {
            let at = ((n * p.height + image_y) * p.width + image_x) * p.x_pitch;
            var weights = tap * p.per_in * p.b_pitch;
            for (var c = 0u; c < p.per_in; c++) {
//% if SHARED
                let v = x_one(at, channel.x + c);
//% end
//% if !SHARED
                let v = vec4<f32>(x_one(at, channel.x + c), x_one(at, channel.y + c),
                    x_one(at, channel.z + c), x_one(at, channel.w + c));
//% end
                y += v * b_quad(weights, column);
                weights += p.b_pitch;
            }
        }
    }
//% if BIAS
    y += vec4<f32>(bias[column], bias[min(column + 1u, p.outputs - 1u)], bias[min(column + 2u, p.outputs - 1u)],
        bias[min(column + 3u, p.outputs - 1u)]);
//% end
    let to = row * p.out_pitch;
    let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.outputs);
//% if OUT_I8
    out[to + column / 4u] = quantized(out_params[0], stored(y), live);
//% end
//% if !OUT_I8
//% if F16
    y = select(vec4<f32>(), y, live);
    out[to + column / 2u] = pack_f16(y.x, y.y);
    if column + 2u < p.outputs { out[to + column / 2u + 1u] = pack_f16(y.z, y.w); }
//% end
//% if !F16
    let words = bitcast<vec4<u32>>(y);
    out[to + column] = words.x;
    if column + 1u < p.outputs { out[to + column + 1u] = words.y; }
    if column + 2u < p.outputs { out[to + column + 2u] = words.z; }
    if column + 3u < p.outputs { out[to + column + 3u] = words.w; }
//% end
//% end
}
