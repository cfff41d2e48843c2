// A function of each pair, broadcast: of f32 or f16, computed in f32, to floats or int8; or of i32. A thread computes
// four neighbours of an output row.
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
//% if OUT_I8
@group(0) @binding(4) var<storage, read> out_params: array<QuantParams>;
//% end

//% if F16
fn a_load(at: u32, column: u32) -> Four {
    let word = at + column / 2u;
    return vec4<f32>(unpack2x16float(a[word]), unpack2x16float(a[word + 1u]));
}
fn b_load(at: u32, column: u32) -> Four {
    let word = at + column / 2u;
    return vec4<f32>(unpack2x16float(b[word]), unpack2x16float(b[word + 1u]));
}
//% end
//% if !F16
fn a_load(at: u32, column: u32) -> Four {
    let word = at + column;
    return bitcast<Four>(vec4<u32>(a[word], a[word + 1u], a[word + 2u], a[word + 3u]));
}
fn b_load(at: u32, column: u32) -> Four {
    let word = at + column;
    return bitcast<Four>(vec4<u32>(b[word], b[word + 1u], b[word + 2u], b[word + 3u]));
}
//% end

//% if FLOAT
fn nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}
// Comparisons of NaN are false, whatever a driver makes of them.
fn truth(t: vec4<bool>, x: vec4<f32>, y: vec4<f32>) -> vec4<i32> {
    return select(vec4<i32>(0), vec4<i32>(1), t & !nan(x) & !nan(y));
}
// NaN where either is.
fn keep_nan(z: vec4<f32>, x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    return select(select(z, y, nan(y)), x, nan(x));
}
//% if MOD
// x - y times the whole part of the quotient, which may be one off where x is near a multiple.
fn remainder(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let n = abs(y);
    var r = abs(x) - trunc(abs(x) / n) * n;
    r = select(r, r + n, r < vec4<f32>());
    r = select(r, r - n, r >= n);
    return select(r, -r, x < vec4<f32>());
}
//% end
//% if POW
// By way of the magnitude, since WGSL has no power of a negative base: odd powers take the base's sign.
fn power(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let size = abs(x);
    var z = exp2(y * log2(size));
    // Common powers, exactly.
    z = select(z, size, y == vec4<f32>(1.0));
    z = select(z, size * size, y == vec4<f32>(2.0));
    z = select(z, size * size * size, y == vec4<f32>(3.0));
    z = select(z, sqrt(size), y == vec4<f32>(0.5));
    let infinite = bitcast<vec4<f32>>(vec4<u32>(0x7f800000u | min(p.total, 0u)));
    z = select(z, select(vec4<f32>(), infinite, y < vec4<f32>()), size == vec4<f32>());
    let whole = floor(y) == y;
    let odd = whole & (floor(y * 0.5) * 2.0 != y);
    let negative = x < vec4<f32>();
    z = select(z, -z, negative & odd);
    z = select(z, bitcast<vec4<f32>>(vec4<u32>(0x7fc00000u | min(p.total, 0u))), negative & !whole);
    z = keep_nan(z, x, y);
    return select(z, vec4<f32>(1.0), (x == vec4<f32>(1.0)) | (y == vec4<f32>()));
}
//% end
//% end
//% if !FLOAT
fn truth(t: vec4<bool>, x: vec4<i32>, y: vec4<i32>) -> vec4<i32> {
    return select(vec4<i32>(0), vec4<i32>(1), t);
}
// What can be divided by without overflow: 1 stands in for 0 and for the -1 that would overflow.
fn divisor(x: vec4<i32>, y: vec4<i32>) -> vec4<i32> {
    let least = vec4<i32>(-2147483647 - 1);
    let overflows = (x == least) & (y == vec4<i32>(-1));
    return select(y, vec4<i32>(1), (y == vec4<i32>(0)) | overflows);
}
//% if POW
fn power(x: vec4<i32>, y: vec4<i32>) -> vec4<i32> {
    var z = vec4<i32>(1);
    var square = x;
    var rest = max(y, vec4<i32>(0));
    for (var i = 0; i < 31; i++) {
        z = select(z, z * square, (rest & vec4<i32>(1)) == vec4<i32>(1));
        square = square * square;
        rest = rest >> vec4<u32>(1u);
    }
    // The whole part of 1 / x^-y: of 1 and -1 themselves, else 0.
    let odd = (y & vec4<i32>(1)) == vec4<i32>(1);
    var inverse = select(vec4<i32>(0), vec4<i32>(1), (x == vec4<i32>(1)) | (x == vec4<i32>(-1)));
    inverse = select(inverse, vec4<i32>(-1), (x == vec4<i32>(-1)) & odd);
    return select(z, inverse, y < vec4<i32>(0));
}
//% end
//% end

fn combine(x: Four, y: Four) -> Result {
    let zero = Four();
//% if ADD
    return x + y;
//% end
//% if SUB
    return x - y;
//% end
//% if MUL
    return x * y;
//% end
//% if DIV
//% if FLOAT
    return x / y;
//% end
//% if !FLOAT
    return select(x / divisor(x, y), zero, y == zero);
//% end
//% end
//% if POW
    return power(x, y);
//% end
//% if MIN
//% if FLOAT
    return keep_nan(min(x, y), x, y);
//% end
//% if !FLOAT
    return min(x, y);
//% end
//% end
//% if MAX
//% if FLOAT
    return keep_nan(max(x, y), x, y);
//% end
//% if !FLOAT
    return max(x, y);
//% end
//% end
//% if MOD
//% if FLOAT
    let r = remainder(x, y);
//% end
//% if !FLOAT
    let d = divisor(x, y);
    let r = select(x - x / d * d, zero, y == zero);
//% end
//% if FMOD
    return r;
//% end
//% if !FMOD
    return select(r, r + y, (r != zero) & ((r < zero) != (y < zero)));
//% end
//% end
//% if PRELU
    return select(x, x * y, x < zero);
//% end
//% if EQUAL
    return truth(x == y, x, y);
//% end
//% if GREATER
    return truth(x > y, x, y);
//% end
//% if GREATER_OR_EQUAL
    return truth(x >= y, x, y);
//% end
//% if LESS
    return truth(x < y, x, y);
//% end
//% if LESS_OR_EQUAL
    return truth(x <= y, x, y);
//% end
//% if AND
    return truth((x != zero) & (y != zero), x, y);
//% end
//% if OR
    return truth((x != zero) | (y != zero), x, y);
//% end
//% if XOR
    return truth((x != zero) != (y != zero), x, y);
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
    let at = places(row);
    var x = a_load(at.x, column * p.step.x);
    var y = b_load(at.y, column * p.step.y);
    if p.step.x == 0u { x = Four(x.x); }
    if p.step.y == 0u { y = Four(y.x); }
    let z = combine(x, y);
    let to = row * p.out_pitch;
    let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.columns);
//% if OUT_I8
    out[to + column / 4u] = quantized(out_params[0], stored(z), live);
//% end
//% if OUT_F16
    let half = select(vec4<f32>(), z, live);
    out[to + column / 2u] = pack_f16(half.x, half.y);
    if column + 2u < p.columns { out[to + column / 2u + 1u] = pack_f16(half.z, half.w); }
//% end
//% if OUT_WORDS
    let words = bitcast<vec4<u32>>(z);
    out[to + column] = words.x;
    if column + 1u < p.columns { out[to + column + 1u] = words.y; }
    if column + 2u < p.columns { out[to + column + 2u] = words.z; }
    if column + 3u < p.columns { out[to + column + 3u] = words.w; }
//% end
}
