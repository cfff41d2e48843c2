// Register-blocked GEMM in which every thread loads what it needs: no subgroups, no workgroup memory, no barrier.
// What serves a CPU adapter without subgroups of 8, and few rows anywhere. A workgroup is LANES threads in one row;
// each computes ROWS rows by 4 * Q columns.

@compute @workgroup_size(LANES, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(group, groups);
    let batch = tile.z;
    let row0 = tile.y * ROWS;
    let column0 = (tile.x * LANES * Q + local) * 4u;
//% for i in ROWS
    let from#i = a_row(batch, min(row0 + #iu, p.m - 1u));
    var row_sum#i = 0;
//% for q in Q
    var c#i_#q = Acc();
//% if FOLD
    var s#i_#q = Total();
//% end
//% end
//% end
    var cursor = cursor_at(0u);
//% if FOLD
    for (var block = 0u; block < p.chunks; block += fold_chunks()) {
    let end = min(block + fold_chunks(), p.chunks);
//% end
//% if !FOLD
    let block = 0u;
    let end = p.chunks;
//% end
    for (var chunk = block; chunk < end; chunk++) {
//% for i in ROWS
        let chunk#i = a_load(from#i, cursor);
//% end
//% for w in 4
//% for q in Q
        let b#w_#q = b_unpack(b_load(batch, chunk * 4u + #wu, column0 + #qu * LANES * 4u));
//% end
//% for i in ROWS
//% if B_ZERO
        row_sum#i += dot4I8Packed(chunk#i[#w], 0x01010101u);
//% end
        let a#w_#i = a_unpack(chunk#i[#w]);
//% for q in Q
        c#i_#q = fma_block(c#i_#q, a#w_#i, b#w_#q);
//% end
//% end
//% end
        cursor = cursor_next(cursor);
    }
//% if FOLD
//% for q in Q
    let scale#q = fold_scale(block, column0 + #qu * LANES * 4u);
//% end
//% for i in ROWS
//% for q in Q
    s#i_#q += folded(c#i_#q, scale#q);
    c#i_#q = Acc();
//% end
//% end
    }
//% end
//% for q in Q
    {
    let column = column0 + #qu * LANES * 4u;
    let of_column = column_of(batch, min(column, p.n - 1u));
//% for i in ROWS
//% if INT
//% if FOLD
    finish_i8(batch, row0 + #iu, column, of_column, s#i_#q, vec4<i32>(row_sum#i));
//% end
//% if !FOLD
    finish_i8(batch, row0 + #iu, column, of_column, vec4<i32>(c#i_#q), vec4<i32>(row_sum#i));
//% end
//% end
//% if !INT
//% if FOLD
    finish(batch, row0 + #iu, column, of_column, s#i_#q);
//% end
//% if !FOLD
    finish(batch, row0 + #iu, column, of_column, c#i_#q);
//% end
//% end
//% end
    }
//% end
}
