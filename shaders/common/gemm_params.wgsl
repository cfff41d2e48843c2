// Parameters of the gemm family; `ops::tile::Params` is its twin, checked by tests/shaders.rs.
struct Params {
    m: u32,              // rows of a and of the output, in each batch; POOL: four of a to one of the output
    n: u32,              // columns of the output, in each batch
    k: u32,              // real length of the sum, without padding
    k_words: u32,        // u32 words of k in a row of a, padding to whole words included
    chunks: u32,         // steps of STEP words through k_words
    a_pitch: u32,        // words from row to row
    b_pitch: u32,        // packed b: columns padded to 4, of all panels. else: words from row to row
    out_pitch: u32,      // words from row to row
    a_batch: u32,        // words from batch to batch
    b_batch: u32,        // words from batch to batch
    out_batch: u32,      // words from batch to batch
    column_batch: u32,   // columns from batch to batch in bias, b_params and b_sums
    row_batch: u32,      // rows from batch to batch in a_params
    tiles_m: u32,
    tiles_n: u32,
    tiles: u32,          // of all batches
    lo: f32,             // activation: clamp to [lo, hi]; a function's alpha and beta
    hi: f32,
    // A convolution's patches. All pitches in words.
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    kernel_x: u32,
    tap_words: u32,      // words of a pixel's channels, in each group
    last_mask: u32,      // int8: which bytes of a pixel's last word are channels
    groups: u32,         // channel groups
    group_chunks: u32,   // weights with a scale for each group along k: chunks in a group
    // HEADS: products side by side in the rows of a matrix. A batch is then outer << 16 | head, and a_batch, b_batch
    // and out_batch are words from outer to outer. `batch_at` makes it, `a_of`, `b_of` and `out_of` take it apart.
    heads: u32,          // products side by side
    a_head: u32,         // words from head to head
    b_head: u32,
    out_head: u32,
    a_first: u32,        // words before the first head
    b_first: u32,
    out_first: u32,
    parts: u32,          // sums split along k: parts of each
    part_chunks: u32,    // and chunks in a part
    lowest: f32,         // POOL: negative infinity, which WGSL has no literal for
}

struct QuantParams { scale: f32, inv_scale: f32, zero_point: i32, limits: i32 }

@group(0) @binding(0) var<uniform> p: Params;

//% if HEADS
// Divided once here, since b is found again for every word of it.
fn batch_at(i: u32) -> u32 {
    let outer = i / p.heads;
    return (outer << 16u) | (i - outer * p.heads);
}
//% end
//% if !HEADS
fn batch_at(i: u32) -> u32 { return i; }
//% end

// Which tile this workgroup computes: (column tile, row tile, batch; with SPLIT, part of a batch). The grid may be
// larger than the tiles: what is beyond them gets a row tile below the matrix, whose results are dropped.
fn tile_of(group: vec3<u32>, groups: vec3<u32>) -> vec3<u32> {
    let t = group.x + group.y * groups.x;
    if t >= p.tiles { return vec3<u32>(0u, p.tiles_m, 0u); }
    let row = t / p.tiles_n;
    let z = row / p.tiles_m;
//% if SPLIT
    return vec3<u32>(t % p.tiles_n, row % p.tiles_m, z);
//% end
//% if !SPLIT
    return vec3<u32>(t % p.tiles_n, row % p.tiles_m, batch_at(z));
//% end
}

// The batch of such a tile, and its chunks of k.
//% if SPLIT
fn batch_of(z: u32) -> u32 { return batch_at(z / p.parts); }
fn chunks_begin(z: u32) -> u32 { return z % p.parts * p.part_chunks; }
fn chunks_end(z: u32) -> u32 { return min(chunks_begin(z) + p.part_chunks, p.chunks); }
//% end
//% if !SPLIT
fn batch_of(z: u32) -> u32 { return z; }
fn chunks_begin(z: u32) -> u32 { return 0u; }
fn chunks_end(z: u32) -> u32 { return p.chunks; }
//% end

// The first word of a batch.
//% if HEADS
fn a_of(batch: u32) -> u32 { return p.a_first + (batch >> 16u) * p.a_batch + (batch & 0xffffu) * p.a_head; }
fn b_of(batch: u32) -> u32 { return p.b_first + (batch >> 16u) * p.b_batch + (batch & 0xffffu) * p.b_head; }
fn out_of(batch: u32) -> u32 { return p.out_first + (batch >> 16u) * p.out_batch + (batch & 0xffffu) * p.out_head; }
//% end
//% if !HEADS
fn a_of(batch: u32) -> u32 { return batch * p.a_batch; }
fn b_of(batch: u32) -> u32 { return batch * p.b_batch; }
fn out_of(batch: u32) -> u32 { return batch * p.out_batch; }
//% end
