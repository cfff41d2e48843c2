// One part of a sum that is split along k, stored as it is for gemm_fold.wgsl: [batch, part, row, columns / 4 + 1], of
// which the last is the row's sum of a. In the place of an epilogue, with its bindings.
//% if INT
@group(0) @binding(3) var<storage, read> a_params: array<QuantParams>;
@group(0) @binding(8) var<storage, read_write> partial: array<vec4<u32>>;
//% end
//% if !INT
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<u32>>;
//% if B_I8
//% if FOLD
@group(0) @binding(5) var<storage, read> scales: array<vec4<f32>>;
fn scale_of(group: u32, column: u32) -> vec4<f32> { return scales[group * ((p.n + 3u) / 4u) + column / 4u]; }
//% end
//% end
//% end

fn column_of(batch: u32, column: u32) -> u32 { return 0u; }
fn keep(z: u32, row: u32, column: u32, sum: vec4<u32>, row_sum: vec4<u32>) {
    if row >= p.m || column >= p.n { return; }
    let quads = (p.n + 3u) / 4u;
    let at = (z * p.m + row) * (quads + 1u);
    partial[at + column / 4u] = sum;
//% if B_ZERO
    if column == 0u { partial[at + quads] = row_sum; }
//% end
}
fn finish(z: u32, row: u32, place: u32, column: u32, c: u32, sum: vec4<f32>) {
    keep(z, row, column, bitcast<vec4<u32>>(sum), vec4<u32>());
}
fn finish_i8(z: u32, row: u32, place: u32, column: u32, c: u32, products: vec4<i32>, row_sum: vec4<i32>) {
    keep(z, row, column, bitcast<vec4<u32>>(products), bitcast<vec4<u32>>(row_sum));
}
