// f32 sums -> act(sum + bias), or a function of it, stored as f32, packed f16 or int8.
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<Out>;

//% if B_I8
// Of int8 weights: for each group along k, of each column.
@group(0) @binding(5) var<storage, read> scales: array<vec4<f32>>;
fn scale_of(group: u32, column: u32) -> vec4<f32> { return scales[group * ((p.n + 3u) / 4u) + column / 4u]; }
//% end

//% if OUT_I8
//% if B_I8
@group(0) @binding(6) var<storage, read> out_params: array<QuantParams>;
//% end
//% if !B_I8
@group(0) @binding(5) var<storage, read> out_params: array<QuantParams>;
//% end
//% end

struct Column {
    bias: vec4<f32>,
    scale: vec4<f32>,
//% if OUT_I8
    out: QuantParams,
    live: vec4<bool>,
//% end
}
fn column_of(batch: u32, column: u32) -> Column {
    var c: Column;
//% if BIAS
    let i = batch * p.column_batch + column;
    c.bias = vec4<f32>(bias[i], bias[i + 1u], bias[i + 2u], bias[i + 3u]);
//% end
//% if B_I8
//% if !FOLD
    c.scale = scale_of(0u, column);
//% end
//% end
//% if OUT_I8
    c.out = out_params[0];
    c.live = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.n);
//% end
    return c;
}
// `place` is the row's among those of its thread, known when the kernel is compiled.
fn finish(batch: u32, of_sum: u32, place: u32, column: u32, c: Column, sum: vec4<f32>) {
//% if POOL
    let row = of_sum / 4u;
//% end
//% if !POOL
    let row = of_sum;
    if of_sum >= p.m || column >= p.n { return; }
//% end
    var y = sum;
//% if B_I8
//% if !FOLD
    y *= c.scale;
//% end
//% end
    y += c.bias;
//% if ACTIVATE
    y = clamp(y, vec4<f32>(p.lo), vec4<f32>(p.hi));
//% end
//% if FUNCTION
    y = apply(y, p.lo, p.hi);
//% end
//% if POOL
    y = largest_of(place, y);
    if !whole(place, of_sum, column) { return; }
//% end
//% if OUT_I8
    out[out_of(batch) + row * p.out_pitch + column / 4u] = quantized(c.out, stored(y), c.live);
//% end
//% if !OUT_I8
    store(batch, row, column, y);
//% end
}
