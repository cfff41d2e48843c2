// Max and average pools over channels-last images [n, height, width, channels]: a thread computes four channels of one
// output pixel.
struct Params {
    total: u32,        // threads
    quads: u32,        // fours of channels
    channels: u32,
    taps: u32,         // of the window
    kernel_x: u32,
    x_pitch: u32,      // words from pixel to pixel
    out_pitch: u32,    // words from pixel to pixel
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    padded_height: u32,
    padded_width: u32,
    lowest: f32,       // negative infinity, which WGSL has no literal for
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;               // [n * height * width, channels]
@group(0) @binding(2) var<storage, read> params: array<QuantParams>;  // int8 average: one, of x and of out
@group(0) @binding(3) var<storage, read_write> out: array<u32>;       // [n * out_height * out_width, channels]

//% if I8
alias Sum = vec4<i32>;
fn load4(at: u32, column: u32) -> vec4<i32> { return unpack4xI8(x[at + column / 4u]); }
//% end
//% if F16
alias Sum = vec4<f32>;
fn load4(at: u32, column: u32) -> vec4<f32> {
    let word = at + column / 2u;
    return vec4<f32>(unpack2x16float(x[word]), unpack2x16float(x[word + 1u]));
}
//% end
//% if F32
alias Sum = vec4<f32>;
fn load4(at: u32, column: u32) -> vec4<f32> {
    let word = at + column;
    return bitcast<vec4<f32>>(vec4<u32>(x[word], x[word + 1u], x[word + 2u], x[word + 3u]));
}
//% end

//% if AVERAGE
//% if I8
// Rounded to the nearest integer, ties to even. Exact: the quotient is rounded down first.
fn mean_i32(sum: i32, count: i32) -> i32 {
    let magnitude = abs(sum);
    let q = magnitude / count;
    let twice = 2 * (magnitude - q * count);
    let r = q + select(0, 1, twice > count || (twice == count && (q & 1) == 1));
    return select(r, -r, sum < 0);
}
//% end
//% end

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
    let top = (line - n * p.out_height) * p.stride_y;
    let left = (row - line * p.out_width) * p.stride_x;
//% if AVERAGE
    var y = Sum();
    var count = 0u;
//% if I8
    let zero = params[0].zero_point;
//% end
//% end
//% if !AVERAGE
//% if I8
    var y = vec4<i32>(-128);
//% end
//% if !I8
    var y = vec4<f32>(p.lowest);
//% end
//% end
    for (var tap = 0u; tap < p.taps; tap++) {
        let tap_y = tap / p.kernel_x;
        let from_y = top + tap_y * p.dilation_y;
        let from_x = left + (tap - tap_y * p.kernel_x) * p.dilation_x;
        // Before the image, the difference wraps to a large number.
        let image_y = from_y - p.pad_y;
        let image_x = from_x - p.pad_x;
        let hit = image_y < p.height && image_x < p.width;
//% if INCLUDE_PAD
        // What lies beyond even the padding, in ceil mode, never counts.
        count += select(0u, 1u, from_y < p.padded_height && from_x < p.padded_width);
//% end
        if hit {
            let at = ((n * p.height + image_y) * p.width + image_x) * p.x_pitch;
            let v = load4(at, column);
//% if AVERAGE
//% if I8
            y += v - vec4<i32>(zero);
//% end
//% if !I8
            y += v;
//% end
//% if !INCLUDE_PAD
            count += 1u;
//% end
//% end
//% if !AVERAGE
            y = select(y, v, v > y);
//% end
        }
    }
//% if AVERAGE
    count = max(count, 1u);
//% if I8
    let c = i32(count);
    let limits = params[0].limits;
    y = clamp(vec4<i32>(mean_i32(y.x, c), mean_i32(y.y, c), mean_i32(y.z, c), mean_i32(y.w, c)) + zero,
        vec4<i32>(qmin_of(limits)), vec4<i32>(qmax_of(limits)));
//% end
//% if !I8
    y /= f32(count);
//% end
//% end
    // Channels past the last are stored as zeros where they share a word with real ones.
    y = select(Sum(), y, vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.channels));
    let to = row * p.out_pitch;
//% if I8
    out[to + column / 4u] = pack4xI8(y);
//% end
//% if F16
    out[to + column / 2u] = pack_f16(y.x, y.y);
    if column + 2u < p.channels { out[to + column / 2u + 1u] = pack_f16(y.z, y.w); }
//% end
//% if F32
    let words = bitcast<vec4<u32>>(y);
    out[to + column] = words.x;
    if column + 1u < p.channels { out[to + column + 1u] = words.y; }
    if column + 2u < p.channels { out[to + column + 2u] = words.z; }
    if column + 3u < p.channels { out[to + column + 3u] = words.w; }
//% end
}
