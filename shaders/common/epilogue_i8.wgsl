// i32 sums of int8 products -> the zero points' share taken out -> i32, or scaled, biased, activated and stored as
// f32 or f16, or requantized to int8. `NUMERICS` section 3.
@group(0) @binding(3) var<storage, read> a_params: array<QuantParams>;
@group(0) @binding(4) var<storage, read> b_params: array<QuantParams>;
@group(0) @binding(5) var<storage, read> b_sums: array<i32>;
@group(0) @binding(6) var<storage, read> bias: array<u32>;
@group(0) @binding(7) var<storage, read> out_params: array<QuantParams>;
@group(0) @binding(8) var<storage, read_write> out: array<Out>;

// What the operand added to each element of a.
const A_OFFSET: i32 = i32(OFFSET);

// What four columns have in common for all rows, worked out once for them: a load of a parameter costs a CPU adapter as
// much as all the arithmetic of a row.
struct Column {
    scale: vec4<f32>,     // of a sum: to reals, or without FUNCTION to steps of an int8 output; A_PER_ROW: of b alone
    zero: vec4<i32>,      // zero points of b
    sum: vec4<i32>,       // what is taken from a sum of products; A_PER_ROW: sums of b, to be multiplied by a zero point
    a_zero: i32,
    bias: vec4<f32>,      // in the unit that `scale` leads to
    bias_i32: vec4<i32>,
    // An int8 output's.
    inv_scale: f32,
    out_zero: f32,
    lo: f32,
    hi: f32,
    live: u32,            // bytes of a word that are columns
}
fn column_of(batch: u32, column: u32) -> Column {
    var c: Column;
//% for j in 4
    {
        let i = batch * p.column_batch + min(column + #ju, p.n - 1u);
//% if B_PER_CHANNEL
        let q = b_params[i];
//% end
//% if !B_PER_CHANNEL
        let q = b_params[0];
//% end
        c.scale[#j] = q.scale;
        c.zero[#j] = q.zero_point;
        c.sum[#j] = b_sums[i];
//% if BIAS_F32
        c.bias[#j] = bitcast<f32>(bias[i]);
//% end
//% if BIAS_I32
        c.bias_i32[#j] = bitcast<i32>(bias[i]);
//% end
    }
//% end
//% if !A_PER_ROW
    let a = a_params[0];
    c.a_zero = a.zero_point;
    c.scale = a.scale * c.scale;
    c.sum = (a.zero_point + A_OFFSET) * c.sum - c.bias_i32;
//% end
//% if OUT_I8
    let o = out_params[0];
    c.inv_scale = o.inv_scale;
    c.out_zero = f32(o.zero_point);
    c.lo = f32((o.limits << 16u) >> 16u);
    c.hi = f32(o.limits >> 16u);
//% if ACTIVATE
    // The activation is a clamp among the integers.
    c.lo = max(c.lo, round(max(p.lo * o.inv_scale, -512.0)) + c.out_zero);
    c.hi = max(c.lo, min(c.hi, round(min(p.hi * o.inv_scale, 512.0)) + c.out_zero));
//% end
//% if !FUNCTION
//% if !A_PER_ROW
    c.scale *= o.inv_scale;
//% end
    c.bias *= o.inv_scale;
//% end
    c.live = 0xffffffffu >> (8u * (3u - min(p.n - 1u - min(column, p.n - 1u), 3u)));
//% end
    return c;
}

// `row_sum` is the sum of a over k, the same for all columns but in grouped convolutions; only asymmetric weights
// (B_ZERO) need it.
// `place` is the row's among those of its thread, known when the kernel is compiled. POOL takes the largest of the sums where
// all that follows keeps their order (OUT_I8, with a clamp at most), of the reals elsewhere.
fn finish_i8(batch: u32, of_sum: u32, place: u32, column: u32, c: Column, products: vec4<i32>, row_sum: vec4<i32>) {
//% if POOL
    let row = of_sum / 4u;
//% end
//% if !POOL
    let row = of_sum;
    if of_sum >= p.m || column >= p.n { return; }
//% end
//% if A_PER_ROW
    let q = a_params[batch * p.row_batch + row];
    let a_zero = q.zero_point;
    var sum = products - (a_zero + A_OFFSET) * c.sum + c.bias_i32;
//% end
//% if !A_PER_ROW
    let a_zero = c.a_zero;
    var sum = products - c.sum;
//% end
//% if B_ZERO
    sum += c.zero * (a_zero * i32(p.k) - row_sum);
//% end
//% if POOL
//% if OUT_I8
    sum = largest_sum_of(place, sum);
    if !whole(place, of_sum, column) { return; }
//% end
//% end
//% if OUT_I32
    let base = batch * p.out_batch + row * p.out_pitch + column;
    let words = bitcast<vec4<u32>>(sum);
//% if OUT_VEC
    out[base / 4u] = words;
//% end
//% if !OUT_VEC
    out[base] = words.x;
    if column + 1u < p.n { out[base + 1u] = words.y; }
    if column + 2u < p.n { out[base + 2u] = words.z; }
    if column + 3u < p.n { out[base + 3u] = words.w; }
//% end
//% end
//% if !OUT_I32
    var scale = c.scale;
//% if A_PER_ROW
    scale = q.scale * scale;
//% if OUT_I8
//% if !FUNCTION
    scale *= c.inv_scale;
//% end
//% end
//% end
    var y = vec4<f32>(sum) * scale;
//% if BIAS_F32
    y += c.bias;
//% end
//% if FUNCTION
    y = apply(y, p.lo, p.hi);
//% end
//% if OUT_FLOAT
//% if ACTIVATE
    y = clamp(y, vec4<f32>(p.lo), vec4<f32>(p.hi));
//% end
//% if POOL
    y = largest_of(place, y);
    if !whole(place, of_sum, column) { return; }
//% end
    store(batch, row, column, y);
//% end
//% if OUT_I8
//% if FUNCTION
    // Of the reals, which become integers after it.
    y *= c.inv_scale;
//% end
    // Small integers are exact in f32, so the zero point may be added here.
    let r = clamp(round(y) + c.out_zero, vec4<f32>(c.lo), vec4<f32>(c.hi));
    out[batch * p.out_batch + row * p.out_pitch + column / 4u] = bytes_of(r) & c.live;
//% end
//% end
}
