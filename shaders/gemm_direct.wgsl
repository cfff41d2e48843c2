// Register-blocked GEMM in which every thread loads what it needs: no subgroups, and no workgroup memory but to add
// PARTS of a sum. What serves a CPU adapter without subgroups of 8, and few rows anywhere: with parts, a product of one
// row by a matrix has PARTS times as many threads to wait for its loads. A workgroup is LANES threads in one row, for
// each part of k; each computes ROWS rows by 4 * Q columns. With 64-bit loads two quads of columns are neighbours, so that
// one load brings both (PAIRED): to a CPU adapter a load of 32 bytes costs less than two of 16.
//% if PARTED
var<workgroup> parts: array<Total, LANES * PARTS>;
//% if B_ZERO
var<workgroup> row_parts: array<i32, LANES * PARTS>;
//% end
//% end

@compute @workgroup_size(LANES * PARTS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(group, groups);
    let z = tile.z;
    let batch = batch_of(z);
    let row0 = tile.y * ROWS;
    let column0 = (tile.x * LANES * Q + local % LANES * PAIR) * 4u;
//% if !PARTED
    let begin = chunks_begin(z);
    let stop = chunks_end(z);
//% end
//% if PARTED
    let part = local / LANES;
    var each = (chunks_end(z) - chunks_begin(z) + PARTS - 1u) / PARTS;
//% if FOLD
    each = (each + fold_chunks() - 1u) / fold_chunks() * fold_chunks();
//% end
    let begin = min(chunks_begin(z) + part * each, chunks_end(z));
    let stop = min(begin + each, chunks_end(z));
//% end
//% for i in ROWS
    let from#i = a_row(batch, min(row0 + #iu, p.m - 1u));
    var row_sum#i = 0;
//% for d in PAIRS
//% for e in PAIR
    var c#i_#d_#e = Acc();
//% if FOLD
    var s#i_#d_#e = Total();
//% end
//% end
//% end
//% end
//% for d in PAIRS
    var from_b#d = b_cursor(batch, begin * STEP, column0 + #du * LANES * PAIR * 4u);
//% end
    var cursor = cursor_at(begin);
//% if FOLD
    for (var block = begin; block < stop; block += fold_chunks()) {
    let end = min(block + fold_chunks(), stop);
//% end
//% if !FOLD
    let block = begin;
    let end = stop;
//% end
    for (var chunk = block; chunk < end; chunk++) {
//% for i in ROWS
        let chunk#i = a_load(from#i, cursor);
//% end
//% for w in STEP
//% for d in PAIRS
//% if PAIRED
        let pair#w_#d = b_load2(from_b#d);
        let b#w_#d_0 = b_unpack(pair#w_#d.x);
        let b#w_#d_1 = b_unpack(pair#w_#d.y);
//% end
//% if !PAIRED
        let b#w_#d_0 = b_unpack(b_load(from_b#d));
//% end
        from_b#d = b_next(from_b#d);
//% end
//% end
//% for i in ROWS
//% for w in STEP
//% if B_ZERO
        row_sum#i += dot4I8Packed(chunk#i[#w], 0x01010101u);
//% end
        let a#w_#i = a_unpack(chunk#i[#w]);
//% end
//% for d in PAIRS
//% for e in PAIR
//% for w in STEP
        c#i_#d_#e = fma_block(c#i_#d_#e, a#w_#i, b#w_#d_#e);
//% end
//% end
//% end
//% end
        cursor = cursor_next(cursor);
    }
//% if FOLD
//% for d in PAIRS
//% for e in PAIR
    let scale#d_#e = fold_scale(block, column0 + (#du * LANES * PAIR + #eu) * 4u);
//% end
//% end
//% for i in ROWS
//% for d in PAIRS
//% for e in PAIR
    s#i_#d_#e += folded(c#i_#d_#e, scale#d_#e);
    c#i_#d_#e = Acc();
//% end
//% end
//% end
    }
//% end
//% for d in PAIRS
//% for e in PAIR
    {
    let column = column0 + (#du * LANES * PAIR + #eu) * 4u;
    let of_column = column_of(batch, min(column, p.n - 1u));
//% for i in ROWS
    {
//% if FOLD
    var sum = s#i_#d_#e;
//% end
//% if !FOLD
    var sum = Total(c#i_#d_#e);
//% end
//% if PARTED
    parts[local] = sum;
//% if B_ZERO
    row_parts[local] = row_sum#i;
//% end
    workgroupBarrier(); // parts stored -> parts added
    // Rows below the matrix are dropped: all parts' but the first's are not wanted.
    var row = p.m;
    var a_sum = row_sum#i;
    if part == 0u {
        row = row0 + #iu;
        for (var other = 1u; other < PARTS; other++) {
            sum += parts[local + other * LANES];
//% if B_ZERO
            a_sum += row_parts[local + other * LANES];
//% end
        }
    }
    workgroupBarrier(); // parts added -> parts stored by the next row
//% end
//% if !PARTED
    let row = row0 + #iu;
    let a_sum = row_sum#i;
//% end
//% if INT
    finish_i8(z, row, #iu, column, of_column, sum, vec4<i32>(a_sum));
//% end
//% if !INT
    finish(z, row, #iu, column, of_column, sum);
//% end
    }
//% end
    }
//% end
//% end
}
