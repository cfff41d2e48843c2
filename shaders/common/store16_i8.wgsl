// In the place of store16.wgsl: to int8 by one set of parameters, what quantize.wgsl makes of what store16.wgsl stores.
@group(0) @binding(2) var<storage, read> params: array<QuantParams>;

fn store16(row: u32, unit: u32, v: Sixteen) {
    let q = params[0];
    let column = unit * 16u;
    store_words(row, unit, vec4<u32>(
        quantized(q, stored(v.a), live4(column, p.columns)),
        quantized(q, stored(v.b), live4(column + 4u, p.columns)),
        quantized(q, stored(v.c), live4(column + 8u, p.columns)),
        quantized(q, stored(v.d), live4(column + 12u, p.columns))));
}
