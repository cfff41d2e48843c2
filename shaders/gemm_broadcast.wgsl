// Register-blocked GEMM in which a subgroup shares the rows of a: each of 8 lanes loads a row of every group of 8,
// and broadcasts hand them to all. No workgroup memory and no barrier: what CPU adapters want, where a load from a
// storage buffer costs far more than arithmetic and barriers are dear (32x8: 34 times the naive kernel, see
// benches/results). A workgroup is LANES threads in one row; each computes 8 * GROUPS rows by 4 * Q columns, STEP words of
// k at a time: four at once were 1.2 times slower in f32 and int8 on lavapipe, their code being larger than its cache.

@compute @workgroup_size(LANES, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile = tile_of(group, groups);
    let z = tile.z;
    let batch = batch_of(z);
    let row0 = tile.y * 8u * GROUPS;
    let column0 = (tile.x * LANES * Q + local) * 4u;
    let shared_row = row0 + (lane & 7u);
//% for g in GROUPS
    let from#g = a_row(batch, min(shared_row + 8u * #gu, p.m - 1u));
//% if B_ZERO
    var row_sum#g = 0;
//% end
//% for i in 8
//% for q in Q
    var c#g_#i_#q = Acc();
//% if FOLD
    var s#g_#i_#q = Total();
//% end
//% end
//% end
//% end
//% for q in Q
    var from_b#q = b_cursor(batch, chunks_begin(z) * STEP, column0 + #qu * LANES * 4u);
//% end
    var cursor = cursor_at(chunks_begin(z));
//% if FOLD
    for (var block = chunks_begin(z); block < chunks_end(z); block += fold_chunks()) {
    let end = min(block + fold_chunks(), chunks_end(z));
//% end
//% if !FOLD
    let block = chunks_begin(z);
    let end = chunks_end(z);
//% end
    for (var chunk = block; chunk < end; chunk++) {
//% for g in GROUPS
        let chunk#g = a_load(from#g, cursor);
//% end
//% for w in STEP
//% for g in GROUPS
//% if B_ZERO
        row_sum#g += dot4I8Packed(chunk#g[#w], 0x01010101u);
//% end
        let word#w_#g = a_unpack(chunk#g[#w]);
//% end
//% for q in Q
        let b#w_#q = b_unpack(b_load(from_b#q));
        from_b#q = b_next(from_b#q);
//% end
//% end
        // A sum takes all the words of a step in turn, so that it need not leave its register between them.
//% for g in GROUPS
//% for i in 8
//% for w in STEP
        let a#w_#g_#i = subgroupBroadcast(word#w_#g, #iu);
//% end
//% for q in Q
//% for w in STEP
        c#g_#i_#q = fma_block(c#g_#i_#q, a#w_#g_#i, b#w_#q);
//% end
//% end
//% end
//% end
        cursor = cursor_next(cursor);
    }
//% if FOLD
//% for q in Q
    let scale#q = fold_scale(block, column0 + #qu * LANES * 4u);
//% end
//% for g in GROUPS
//% for i in 8
//% for q in Q
    s#g_#i_#q += folded(c#g_#i_#q, scale#q);
    c#g_#i_#q = Acc();
//% end
//% end
//% end
    }
//% end
//% for q in Q
    {
    let column = column0 + #qu * LANES * 4u;
    let of_column = column_of(batch, min(column, p.n - 1u));
//% for g in GROUPS
//% for i in 8
    {
//% if INT
//% if FOLD
        let sum = s#g_#i_#q;
//% end
//% if !FOLD
        let sum = vec4<i32>(c#g_#i_#q);
//% end
//% if B_ZERO
        let row_sum = subgroupBroadcast(row_sum#g, #iu);
//% end
//% if !B_ZERO
        let row_sum = 0;
//% end
        finish_i8(z, row0 + 8u * #gu + #iu, #iu, column, of_column, sum, vec4<i32>(row_sum));
//% end
//% if !INT
//% if FOLD
        finish(z, row0 + 8u * #gu + #iu, #iu, column, of_column, s#g_#i_#q);
//% end
//% if !FOLD
        finish(z, row0 + 8u * #gu + #iu, #iu, column, of_column, c#g_#i_#q);
//% end
//% end
    }
//% end
//% end
    }
//% end
}
