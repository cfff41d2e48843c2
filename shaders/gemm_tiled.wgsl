// GEMM tiled through workgroup memory, for GPUs. A workgroup computes TILE_M rows by TILE_N columns, a thread ROWS rows by
// Q groups of 4 columns; TILE_WORDS words of k at a time pass through workgroup memory: 4 KiB for 64 x 64 by 8 words
// (twice that for native f16, which is widened on the way in). Rows of a chunk are A_ROWS of a thread's, A_STEP chunks apart.

// Transposed, so that a thread's rows are neighbours.
var<workgroup> tile_a: array<AWord, TILE_M * TILE_WORDS>;
var<workgroup> tile_b: array<BWord, TILE_N / 4u * TILE_WORDS>;

@compute @workgroup_size(THREADS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(group, groups);
    let z = tile.z;
    let batch = batch_of(z);
    let end = chunks_end(z);
    let row0 = tile.y * TILE_M;
    let column0 = tile.x * TILE_N;
    let tx = local % COLUMN_THREADS;
    let ty = local / COLUMN_THREADS;
//% for j in A_ROWS
    let in_row#j = (local + #ju * THREADS) % TILE_M;
    let from#j = a_row(batch, min(row0 + in_row#j, p.m - 1u));
//% end
    // The chunk of a tile that this thread brings in first.
    let ahead = local / TILE_M;
    var cursor = cursor_at(chunks_begin(z) + ahead);
//% for i in ROWS
    var row_sum#i = 0;
//% for q in Q
    var c#i_#q = Acc();
//% if FOLD
    var s#i_#q = Total();
//% end
//% end
//% end
    for (var chunk = chunks_begin(z); chunk < end; chunk += TILE_CHUNKS) {
//% for h in A_LOADS
        {
            let at = ahead + #hu * A_STEP;
//% for j in A_ROWS
            {
                // Chunks past the last are read as zeros.
                var words = AChunk();
                if chunk + at < end { words = a_load(from#j, cursor); }
//% for w in 4
                tile_a[(at * 4u + #wu) * TILE_M + in_row#j] = words[#w];
//% end
            }
//% end
//% for s in A_STEP
            cursor = cursor_next(cursor);
//% end
        }
//% end
//% for i in B_LOADS
        {
            let v = local + #iu * THREADS;
            let word = chunk * 4u + v / (TILE_N / 4u);
            // Past the packed rows other batches begin; a's zeros meet them, but NaN times zero is NaN.
            var vector = BWord();
            if word < end * 4u { vector = b_load(b_cursor(batch, word, column0 + (v % (TILE_N / 4u)) * 4u)); }
            tile_b[v] = vector;
        }
//% end
        workgroupBarrier(); // tiles stored -> tiles read
        for (var word = 0u; word < TILE_WORDS; word++) {
//% for q in Q
            let b#q = b_unpack(tile_b[word * (TILE_N / 4u) + tx + #qu * COLUMN_THREADS]);
//% end
//% for i in ROWS
            let w#i = tile_a[word * TILE_M + ty * ROWS + #iu];
//% if B_ZERO
            row_sum#i += dot4I8Packed(w#i, 0x01010101u);
//% end
            let a#i = a_unpack(w#i);
//% for q in Q
            c#i_#q = fma_block(c#i_#q, a#i, b#q);
//% end
//% end
        }
        workgroupBarrier(); // tiles read -> tiles stored by the next step
//% if FOLD
        if (chunk + TILE_CHUNKS) % fold_chunks() == 0u || chunk + TILE_CHUNKS >= end {
//% for q in Q
            let scale#q = fold_scale(chunk, column0 + (tx + #qu * COLUMN_THREADS) * 4u);
//% end
//% for i in ROWS
//% for q in Q
            s#i_#q += folded(c#i_#q, scale#q);
            c#i_#q = Acc();
//% end
//% end
        }
//% end
    }
//% for q in Q
    {
    let column = column0 + (tx + #qu * COLUMN_THREADS) * 4u;
    let of_column = column_of(batch, min(column, p.n - 1u));
//% for i in ROWS
//% if INT
//% if FOLD
    finish_i8(z, row0 + ty * ROWS + #iu, #iu, column, of_column, s#i_#q, vec4<i32>(row_sum#i));
//% end
//% if !FOLD
    finish_i8(z, row0 + ty * ROWS + #iu, #iu, column, of_column, vec4<i32>(c#i_#q), vec4<i32>(row_sum#i));
//% end
//% end
//% if !INT
//% if FOLD
    finish(z, row0 + ty * ROWS + #iu, #iu, column, of_column, s#i_#q);
//% end
//% if !FOLD
    finish(z, row0 + ty * ROWS + #iu, #iu, column, of_column, c#i_#q);
//% end
//% end
//% end
    }
//% end
}
