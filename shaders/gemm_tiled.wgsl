// GEMM tiled through workgroup memory, for GPUs. A workgroup of 8 x 8 threads computes 64 rows by 64 columns, a
// thread 8 rows by 2 groups of 4 columns; tiles of 8 words of k pass through workgroup memory, 4 KiB in all
// (10 KiB for native f16, which is widened on the way in), well inside the 16 KiB that WebGPU promises.

const TILE: u32 = 64u;
const TILE_WORDS: u32 = 8u;
// Transposed, so that a thread's rows are neighbours.
var<workgroup> tile_a: array<AWord, 512>;
var<workgroup> tile_b: array<BWord, 128>;

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(group, groups);
    let batch = tile.z;
    let row0 = tile.y * TILE;
    let column0 = tile.x * TILE;
    let tx = local & 7u;
    let ty = local >> 3u;
    // Each thread brings in one row's two chunks, and two of b's 8 x 16 vectors.
    let row = a_row(batch, min(row0 + local, p.m - 1u));
    var cursor = cursor_at(0u);
//% for i in 8
    var row_sum#i = 0;
//% for q in 2
    var c#i_#q = Acc();
//% if FOLD
    var s#i_#q = Total();
//% end
//% end
//% end
    for (var chunk = 0u; chunk < p.chunks; chunk += 2u) {
//% for h in 2
        {
            // An odd last chunk: its partner is read as zeros.
            var words = AChunk();
            if chunk + #hu < p.chunks { words = a_load(row, cursor); }
            cursor = cursor_next(cursor);
//% for w in 4
            tile_a[(#hu * 4u + #wu) * TILE + local] = words[#w];
//% end
            let v = local + #hu * 64u;
            let word = chunk * 4u + v / 16u;
            // Past the packed rows other batches begin; a's zeros meet them, but NaN times zero is NaN.
            var vector = BWord();
            if word < p.chunks * 4u { vector = b_load(batch, word, column0 + (v % 16u) * 4u); }
            tile_b[v] = vector;
        }
//% end
        workgroupBarrier(); // tiles stored -> tiles read
        for (var word = 0u; word < TILE_WORDS; word++) {
//% for q in 2
            let b#q = b_unpack(tile_b[word * 16u + tx + #qu * 8u]);
//% end
//% for i in 8
            let w#i = tile_a[word * TILE + ty * 8u + #iu];
//% if B_ZERO
            row_sum#i += dot4I8Packed(w#i, 0x01010101u);
//% end
            let a#i = a_unpack(w#i);
//% for q in 2
            c#i_#q = fma_block(c#i_#q, a#i, b#q);
//% end
//% end
        }
        workgroupBarrier(); // tiles read -> tiles stored by the next step
//% if FOLD
        if (chunk + 2u) % fold_chunks() == 0u || chunk + 2u >= p.chunks {
//% for q in 2
            let scale#q = fold_scale(chunk, column0 + (tx + #qu * 8u) * 4u);
//% end
//% for i in 8
//% for q in 2
            s#i_#q += folded(c#i_#q, scale#q);
            c#i_#q = Acc();
//% end
//% end
        }
//% end
    }
//% for q in 2
    {
    let column = column0 + (tx + #qu * 8u) * 4u;
    let of_column = column_of(batch, min(column, p.n - 1u));
//% for i in 8
//% if INT
//% if FOLD
    finish_i8(batch, row0 + ty * 8u + #iu, column, of_column, s#i_#q, vec4<i32>(row_sum#i));
//% end
//% if !FOLD
    finish_i8(batch, row0 + ty * 8u + #iu, column, of_column, vec4<i32>(c#i_#q), vec4<i32>(row_sum#i));
//% end
//% end
//% if !INT
//% if FOLD
    finish(batch, row0 + ty * 8u + #iu, column, of_column, s#i_#q);
//% end
//% if !FOLD
    finish(batch, row0 + ty * 8u + #iu, column, of_column, c#i_#q);
//% end
//% end
//% end
    }
//% end
}
