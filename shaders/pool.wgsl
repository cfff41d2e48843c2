// Max and average pools over channels-last images [n, height, width, channels]: a thread computes some channels of one
// output pixel, vectors of four words where pixels are made of these (VEC), else four channels. What finding a pixel
// costs is shared by as many channels as that.
struct Params {
    total: u32,        // threads
    units: u32,        // of a pixel: what a thread computes
    channels: u32,
    taps: u32,         // of the window, row by row
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
@group(0) @binding(2) var<storage, read> params: array<QuantParams>;  // int8 average: one, of x and of out
//% if VEC
// What a thread reads of a pixel: one vector, or two by 64 bits (WIDE), which a CPU adapter loads at the price of one.
alias Vectors = array<vec4<u32>, VECTORS>;
//% if WIDE
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>;               // [n * height * width, channels]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u64>>;       // [n * out_height * out_width, channels]
fn load(at: u32, unit: u32) -> Vectors {
    let w = x[at / 8u + unit];
    return Vectors(split_words(w.xy), split_words(w.zw));
}
fn keep(at: u32, unit: u32, y: Vectors) { out[at / 8u + unit] = vec4<u64>(join_words(y[0]), join_words(y[1])); }
//% end
//% if !WIDE
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;               // [n * height * width, channels]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;       // [n * out_height * out_width, channels]
fn load(at: u32, unit: u32) -> Vectors { return Vectors(x[at / 4u + unit]); }
fn keep(at: u32, unit: u32, y: Vectors) { out[at / 4u + unit] = y[0]; }
//% end
//% end
//% if !VEC
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
//% end

//% if I8
alias Sum = vec4<i32>;
//% end
//% if !I8
alias Sum = vec4<f32>;
//% end
//% if VEC
// The j-th elements of four words.
//% if I8
fn part(w: vec4<u32>, j: u32) -> Sum { return bitcast<vec4<i32>>(w << vec4<u32>(24u - 8u * j)) >> vec4<u32>(24u); }
//% end
//% if F16
fn half_of(w: vec4<u32>, j: u32) -> vec4<u32> { return (w >> vec4<u32>(16u * j)) & vec4<u32>(0xffffu); }
fn part(w: vec4<u32>, j: u32) -> Sum {
    let h = half_of(w, j);
    return Sum(unpack2x16float(h.x).x, unpack2x16float(h.y).x, unpack2x16float(h.z).x, unpack2x16float(h.w).x);
}
//% end
//% if F32
fn part(w: vec4<u32>, j: u32) -> Sum { return bitcast<Sum>(w); }
//% end
//% end
//% if !VEC
//% if I8
fn load4(at: u32, column: u32) -> Sum { return unpack4xI8(x[at + column / 4u]); }
//% end
//% if F16
fn load4(at: u32, column: u32) -> Sum {
    let word = at + column / 2u;
    return Sum(unpack2x16float(x[word]), unpack2x16float(x[word + 1u]));
}
//% end
//% if F32
fn load4(at: u32, column: u32) -> Sum {
    let word = at + column;
    return bitcast<Sum>(vec4<u32>(x[word], x[word + 1u], x[word + 2u], x[word + 3u]));
}
//% end
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
fn mean(sum: Sum, count: u32) -> Sum {
    let c = i32(count);
    let limits = params[0].limits;
    return clamp(vec4<i32>(mean_i32(sum.x, c), mean_i32(sum.y, c), mean_i32(sum.z, c), mean_i32(sum.w, c))
        + params[0].zero_point, vec4<i32>(qmin_of(limits)), vec4<i32>(qmax_of(limits)));
}
//% end
//% if !I8
fn mean(sum: Sum, count: u32) -> Sum { return sum / f32(count); }
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
    let row = quotient(t, p.units);
    let unit = t - row * p.units;
    let line = quotient(row, p.out_width);
    let n = quotient(line, p.out_height);
    // From the start of the padding.
    let top = (line - n * p.out_height) * p.stride_y;
    let left = (row - line * p.out_width) * p.stride_x;
//% if AVERAGE
    var count = 0u;
//% if I8
    let zero = Sum(params[0].zero_point);
//% end
//% end
//% for v in VECTORS
//% for j in PARTS
//% if AVERAGE
    var y#v_#j = Sum();
//% end
//% if !AVERAGE
//% if I8
    var y#v_#j = Sum(-128);
//% end
//% if !I8
    var y#v_#j = Sum(p.lowest);
//% end
//% if KEEP_BITS
    var bits#v_#j = vec4<u32>(0xfc00u);
//% end
//% end
//% end
//% end
    var from_y = top;
    var from_x = left;
    var tap_x = 0u;
    for (var tap = 0u; tap < p.taps; tap++) {
        // Before the image, the difference wraps to a large number.
        let image_y = from_y - p.pad_y;
        let image_x = from_x - p.pad_x;
//% if INCLUDE_PAD
        // What lies beyond even the padding, in ceil mode, never counts.
        count += select(0u, 1u, from_y < p.padded_height && from_x < p.padded_width);
//% end
        if image_y < p.height && image_x < p.width {
            let at = ((n * p.height + image_y) * p.width + image_x) * p.x_pitch;
//% if VEC
            let loaded = load(at, unit);
//% for v in VECTORS
            let words#v = loaded[#v];
//% end
//% end
//% for v in VECTORS
//% for j in PARTS
//% if VEC
            let x#v_#j = part(words#v, #ju);
//% end
//% if !VEC
            let x#v_#j = load4(at, unit * 4u);
//% end
//% if AVERAGE
//% if I8
            y#v_#j += x#v_#j - zero;
//% end
//% if !I8
            y#v_#j += x#v_#j;
//% end
//% end
//% if !AVERAGE
//% if KEEP_BITS
            bits#v_#j = select(bits#v_#j, half_of(words#v, #ju), x#v_#j > y#v_#j);
//% end
            y#v_#j = select(y#v_#j, x#v_#j, x#v_#j > y#v_#j);
//% end
//% end
//% end
//% if AVERAGE
//% if !INCLUDE_PAD
            count += 1u;
//% end
//% end
        }
        // Counts up rather than dividing at each tap.
        tap_x += 1u;
        let over = tap_x == p.kernel_x;
        tap_x = select(tap_x, 0u, over);
        from_x = select(from_x + p.dilation_x, left, over);
        from_y += select(0u, p.dilation_y, over);
    }
//% if AVERAGE
    count = max(count, 1u);
//% for v in VECTORS
//% for j in PARTS
    y#v_#j = mean(y#v_#j, count);
//% end
//% end
//% end
    let to = row * p.out_pitch;
//% if VEC
//% for v in VECTORS
    var result#v = vec4<u32>();
//% for j in PARTS
//% if I8
    result#v |= (bitcast<vec4<u32>>(y#v_#j) & vec4<u32>(255u)) << vec4<u32>(8u * #ju);
//% end
//% if KEEP_BITS
    result#v |= bits#v_#j << vec4<u32>(16u * #ju);
//% end
//% if NARROW
    result#v |= vec4<u32>(f16_bits(y#v_#j.x), f16_bits(y#v_#j.y), f16_bits(y#v_#j.z), f16_bits(y#v_#j.w)) << vec4<u32>(16u * #ju);
//% end
//% if F32
    result#v = bitcast<vec4<u32>>(y#v_#j);
//% end
//% end
//% end
    keep(to, unit, Vectors(
//% for v in VECTORS
        result#v,
//% end
    ));
//% end
//% if !VEC
    let column = unit * 4u;
    // Channels past the last are stored as zeros where they share a word with real ones.
    let y = select(Sum(), y0_0, vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.channels));
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
//% end
}
