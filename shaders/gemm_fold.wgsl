// Adds the parts of sums that were split along k (epilogue_partial.wgsl), and ends them: a thread for each four columns.
@group(0) @binding(2) var<storage, read> partial: array<vec4<u32>>;

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let quads = (p.n + 3u) / 4u;
    let i = (group.x + group.y * groups.x) * 64u + local;
    if i >= p.tiles { return; }
    let column = i % quads * 4u;
    let row = i / quads % p.m;
    let batch = i / quads / p.m;
//% if INT
    var sum = vec4<i32>();
    var row_sum = vec4<i32>();
//% end
//% if !INT
    var sum = vec4<f32>();
//% end
    for (var part = 0u; part < p.parts; part++) {
        let at = ((batch * p.parts + part) * p.m + row) * (quads + 1u);
//% if INT
        sum += bitcast<vec4<i32>>(partial[at + column / 4u]);
//% if B_ZERO
        row_sum += bitcast<vec4<i32>>(partial[at + quads]);
//% end
//% end
//% if !INT
        sum += bitcast<vec4<f32>>(partial[at + column / 4u]);
//% end
    }
    let out_batch = batch_at(batch);
    let of_column = column_of(out_batch, min(column, p.n - 1u));
//% if INT
    finish_i8(out_batch, row, 0u, column, of_column, sum, row_sum);
//% end
//% if !INT
    finish(out_batch, row, 0u, column, of_column, sum);
//% end
}
