// i32 sums of int8 products -> the zero points' share taken out -> i32, or scaled, biased, activated and stored as
// f32 or f16, or requantized to int8. `NUMERICS` section 3.
@group(0) @binding(3) var<storage, read> a_params: array<QuantParams>;
@group(0) @binding(4) var<storage, read> b_params: array<QuantParams>;
@group(0) @binding(5) var<storage, read> b_sums: array<i32>;
@group(0) @binding(6) var<storage, read> bias: array<u32>;
@group(0) @binding(7) var<storage, read> out_params: array<QuantParams>;
//% if OUT_VEC
@group(0) @binding(8) var<storage, read_write> out: array<vec4<u32>>;
//% end
//% if !OUT_VEC
@group(0) @binding(8) var<storage, read_write> out: array<u32>;
//% end

// What four columns have in common for all rows.
struct Column { scale: vec4<f32>, zero: vec4<i32>, sum: vec4<i32>, bias: vec4<u32> }
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
//% if BIAS
        c.bias[#j] = bias[i];
//% end
    }
//% end
    return c;
}

// `row_sum` is the sum of a over k, the same for all columns but in grouped convolutions; only asymmetric weights
// (B_ZERO) need it.
fn finish_i8(batch: u32, row: u32, column: u32, c: Column, products: vec4<i32>, row_sum: vec4<i32>) {
    if row >= p.m || column >= p.n { return; }
//% if A_PER_ROW
    let q = a_params[batch * p.row_batch + row];
//% end
//% if !A_PER_ROW
    let q = a_params[0];
//% end
    var sum = products - q.zero_point * c.sum;
//% if B_ZERO
    sum += c.zero * (q.zero_point * i32(p.k) - row_sum);
//% end
//% if BIAS_I32
    sum += bitcast<vec4<i32>>(c.bias);
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
//% if OUT_FLOAT
    var y = vec4<f32>(sum) * (q.scale * c.scale);
//% if BIAS_F32
    y += bitcast<vec4<f32>>(c.bias);
//% end
//% if ACTIVATE
    y = clamp(y, vec4<f32>(p.lo), vec4<f32>(p.hi));
//% end
//% if FUNCTION
    y = apply(y, p.lo, p.hi);
//% end
    store(batch, row, column, y);
//% end
//% if OUT_I8
    let o = out_params[0];
//% if !FUNCTION
    var y = vec4<f32>(sum) * (q.scale * c.scale * o.inv_scale);
//% if BIAS_F32
    y += bitcast<vec4<f32>>(c.bias) * o.inv_scale;
//% end
//% end
//% if FUNCTION
    // Of the reals, which become integers after it.
    var y = vec4<f32>(sum) * (q.scale * c.scale);
//% if BIAS_F32
    y += bitcast<vec4<f32>>(c.bias);
//% end
    y = apply(y, p.lo, p.hi) * o.inv_scale;
//% end
    var lo = f32((o.limits << 16u) >> 16u);
    var hi = f32(o.limits >> 16u);
    let zero = f32(o.zero_point);
//% if ACTIVATE
    // The activation is a clamp among the integers.
    lo = max(lo, round(max(p.lo * o.inv_scale, -512.0)) + zero);
    hi = max(lo, min(hi, round(min(p.hi * o.inv_scale, 512.0)) + zero));
//% end
    // Small integers are exact in f32, so the zero point may be added here; clamped first, the sum cannot overflow.
    let r = round(clamp(y, vec4<f32>(-65536.0), vec4<f32>(65536.0))) + zero;
    let z = vec4<i32>(clamp(r, vec4<f32>(lo), vec4<f32>(hi)));
    let live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.n);
    out[batch * p.out_batch + row * p.out_pitch + column / 4u] = pack4xI8(select(vec4<i32>(), z, live));
//% end
}
