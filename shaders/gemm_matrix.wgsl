// GEMM by matrix units (EXPERIMENTAL_COOPERATIVE_MATRIX): f16 by f16, summed in f32. int8 is exact in f16, and so are sums
// of 1024 of its products in f32; they are folded into i32 as often. A workgroup computes 64 x 64, each of its 4 subgroups
// 32 x 32 in SIDE x SIDE matrices of SIZE x SIZE. Operands of any source and layout pass through workgroup memory, 16 of k
// at a time, and so do the sums on their way out, by rows of matrices: 12 KiB, and one for the sums of rows.
//
// Workgroups are sized for the device's largest subgroups. Where they are smaller there are more than 4 of them, of which
// the others repeat what the first do and store the same.
const SIDE: u32 = 32u / SIZE;
//% if SIZE_16
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
//% end
//% if !SIZE_16
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
//% end
const TILE: u32 = 64u;
const TILE_K: u32 = 16u;
const TILE_CHUNKS: u32 = TILE_K / (4u * PER_WORD);

var<workgroup> tile_a: array<f16, TILE * TILE_K>; // by rows
var<workgroup> tile_b: array<f16, TILE_K * TILE>; // by k
var<workgroup> staged: array<f32, 4u * SIZE * 32u>; // of each subgroup, a row of matrices
//% if B_ZERO
var<workgroup> row_sums: array<i32, THREADS>;
//% end

@compute @workgroup_size(THREADS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tile = tile_of(group, groups);
    let z = tile.z;
    let batch = batch_of(z);
    let end = chunks_end(z);
    let row0 = tile.y * TILE;
    let column0 = tile.x * TILE;
    let slot = subgroup % 4u;
    let block_row = slot / 2u * 32u;
    let block_column = slot % 2u * 32u;
    let in_row = local % TILE;
    let from0 = a_row(batch, min(row0 + in_row, p.m - 1u));
    var row_sum = 0;
    for (var i = local; i < 4u * SIZE * 32u; i += THREADS) { staged[i] = 0.0; }
    workgroupBarrier(); // zeros stored -> zeros loaded
    let zero = coopLoadT<MatrixC>(&staged[slot * SIZE * 32u], 32u);
//% for r in ROWS
//% for c in ROWS
    var c#r_#c = zero;
//% end
//% for v in VECTORS
    var t#r_#v = Total();
//% end
//% end
    for (var chunk = chunks_begin(z); chunk < end; chunk += TILE_CHUNKS) {
        for (var ahead = local / TILE; ahead < TILE_CHUNKS; ahead += THREADS / TILE) {
            // Chunks past the last are read as zeros.
            var words = AChunk();
            if chunk + ahead < end { words = a_load(from0, cursor_at(chunk + ahead)); }
//% for w in 4
            {
            let at = in_row * TILE_K + (ahead * 4u + #wu) * PER_WORD;
            let x = elements(words[#w]);
//% for e in PER_WORD
            tile_a[at + #eu] = x[#e];
//% end
//% if B_ZERO
            row_sum += dot4I8Packed(words[#w], 0x01010101u);
//% end
            }
//% end
        }
        for (var v = local; v < TILE_CHUNKS * 4u * (TILE / 4u); v += THREADS) {
            let word = v / (TILE / 4u);
            let quad = v % (TILE / 4u);
            // Past the packed rows other batches begin; a's zeros meet them, but NaN times zero is NaN.
            var vector = BWord();
            if chunk * 4u + word < end * 4u { vector = b_load(b_cursor(batch, chunk * 4u + word, column0 + quad * 4u)); }
//% for j in 4
            {
            let x = elements(vector[#j]);
//% for e in PER_WORD
            tile_b[(word * PER_WORD + #eu) * TILE + quad * 4u + #ju] = x[#e];
//% end
            }
//% end
        }
        workgroupBarrier(); // tiles stored -> tiles loaded
//% for k in STEPS
//% for r in ROWS
        let a#k_#r = coopLoadT<MatrixA>(&tile_a[(block_row + #ru * SIZE) * TILE_K + #ku * SIZE], TILE_K);
        let b#k_#r = coopLoadT<MatrixB>(&tile_b[#ku * SIZE * TILE + block_column + #ru * SIZE], TILE);
//% end
//% for r in ROWS
//% for c in ROWS
        c#r_#c = coopMultiplyAdd(a#k_#r, b#k_#c, c#r_#c);
//% end
//% end
//% end
        workgroupBarrier(); // tiles loaded -> tiles stored by the next step
        var out_now = chunk + TILE_CHUNKS >= end;
//% if INT
        out_now = out_now || (chunk + TILE_CHUNKS) % fold_chunks() == 0u;
//% end
        if out_now {
//% for r in ROWS
//% for c in ROWS
            coopStoreT(c#r_#c, &staged[slot * SIZE * 32u + #cu * SIZE], 32u);
            c#r_#c = zero;
//% end
            workgroupBarrier(); // sums stored -> sums added
//% for v in VECTORS
            {
            let i = (local + #vu * THREADS) * 4u;
            t#r_#v += Total(vec4<f32>(staged[i], staged[i + 1u], staged[i + 2u], staged[i + 3u]));
            }
//% end
            workgroupBarrier(); // sums added -> the next row's stored
//% end
        }
    }
//% if B_ZERO
    row_sums[local] = row_sum;
    workgroupBarrier(); // sums of a's chunks stored -> added
//% end
//% for r in ROWS
//% for v in VECTORS
    {
    let i = local + #vu * THREADS;
    let owner = i / (SIZE * 8u);
    let in_block = owner / 2u * 32u + #ru * SIZE + i / 8u % SIZE;
    let row = row0 + in_block;
    let column = column0 + owner % 2u * 32u + i % 8u * 4u;
    let of_column = column_of(batch, min(column, p.n - 1u));
//% if INT
    var of_row = 0;
//% if B_ZERO
    for (var h = in_block; h < THREADS; h += TILE) { of_row += row_sums[h]; }
//% end
    finish_i8(z, row, 0u, column, of_column, t#r_#v, vec4<i32>(of_row));
//% end
//% if !INT
    finish(z, row, 0u, column, of_column, t#r_#v);
//% end
    }
//% end
//% end
}
//% if INT
fn elements(word: u32) -> vec4<f16> { return vec4<f16>(unpack4xI8(word)); }
//% end
//% if !INT
fn elements(word: u32) -> vec2<f16> { return vec2<f16>(unpack2x16float(word)); }
//% end
