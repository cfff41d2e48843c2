// Rows gathered from an image: row (n, oy, ox) of the matrix is the patch under the window there, taps outermost
// and channels innermost. x is [n, height, width, channels]; batches are the channel groups.
struct ARow { word: u32, y: i32, x: i32 }

//% if INT
// What lies outside of the image: the zero point in every byte. It may have been born on the GPU.
var<private> padding: u32;
//% end

fn a_row(batch: u32, row: u32) -> ARow {
//% if INT
    padding = (u32(a_params[0].zero_point) & 255u) * 0x01010101u;
//% end
//% if POOL
    // Four neighbours are a window of the pool, whose output is of out_height and out_width.
    let at = row / 4u;
    let in_y = (row / 2u) & 1u;
    let in_x = row & 1u;
    let line = at / p.out_width;
    let n = line / p.out_height;
    let y = (line - n * p.out_height) * 2u + in_y;
    let x = (at - line * p.out_width) * 2u + in_x;
//% end
//% if !POOL
    let line = row / p.out_width;
    let n = line / p.out_height;
    let y = line - n * p.out_height;
    let x = row - line * p.out_width;
//% end
    return ARow(n * p.height * p.width * p.a_pitch + batch * p.a_batch,
        i32(y * p.stride_y) - i32(p.pad_y), i32(x * p.stride_x) - i32(p.pad_x));
}
//% if A_TAPS
// The word at (y, x) of the image, or nothing where that lies outside.
fn inside(r: ARow, tap_y: u32, tap_x: u32, word: ptr<function, u32>) -> bool {
    let y = u32(r.y + i32(tap_y * p.dilation_y));
    let x = u32(r.x + i32(tap_x * p.dilation_x));
    *word = r.word + (y * p.width + x) * p.a_pitch;
    return y < p.height && x < p.width; // negative ones have wrapped to large ones
}
// A chunk never straddles two taps here: the words of a pixel are a multiple of four, or one (A_ONE), which is a chunk.
struct Cursor { word: u32, y: u32, x: u32 }
fn cursor_at(chunk: u32) -> Cursor {
    let tap = chunk * STEP / p.tap_words;
    return Cursor(chunk * STEP - tap * p.tap_words, tap / p.kernel_x, tap % p.kernel_x);
}
// Counts up rather than dividing: integer division is one lane at a time on a CPU adapter.
fn cursor_next(c: Cursor) -> Cursor {
    let word = c.word + STEP;
    let wrap = word >= p.tap_words;
    let x = c.x + select(0u, 1u, wrap);
    let line = x >= p.kernel_x;
    return Cursor(select(word, 0u, wrap), c.y + select(0u, 1u, line), select(x, 0u, line));
}
//% if A_ONE
fn a_load(r: ARow, c: Cursor) -> AChunk {
    var at: u32;
    let hit = inside(r, c.y, c.x, &at);
    let word = a[select(0u, at, hit)];
//% if INT
    return AChunk(select(padding & p.last_mask, word, hit));
//% end
//% if !INT
    return AChunk(select(0u, word, hit));
//% end
}
//% end
//% if !A_ONE
fn a_load(r: ARow, c: Cursor) -> AChunk {
    var word: u32;
    if inside(r, c.y, c.x, &word) { return a_chunk(word + c.word); }
//% if INT
    return AChunk(padding);
//% end
//% if !INT
    return AChunk();
//% end
}
//% end
//% end
//% if !A_TAPS
// Four words at a time, each in a tap of its own. What does not depend on the row is worked out once for all rows.
struct Cursor { chunk: u32, y: vec4<i32>, x: vec4<i32>, word: vec4<u32>, live: vec4<bool>, last: vec4<bool> }
fn cursor_at(chunk: u32) -> Cursor {
    let k = vec4<u32>(chunk * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    // Exact while k < 2^21, which `bind` checks: the error of the quotient stays below half a step.
    let tap = vec4<u32>((vec4<f32>(k) + 0.5) / f32(p.tap_words));
    let line = vec4<u32>((vec4<f32>(tap) + 0.5) / f32(p.kernel_x));
    let word = k - tap * p.tap_words;
    return Cursor(chunk, vec4<i32>(line * p.dilation_y), vec4<i32>((tap - line * p.kernel_x) * p.dilation_x),
        word, k < vec4<u32>(p.k_words), word + 1u == vec4<u32>(p.tap_words));
}
fn cursor_next(c: Cursor) -> Cursor { return cursor_at(c.chunk + 1u); }
fn a_load(r: ARow, c: Cursor) -> AChunk {
    let y = vec4<u32>(vec4<i32>(r.y) + c.y);
    let x = vec4<u32>(vec4<i32>(r.x) + c.x);
    // Negative ones have wrapped to large ones. What is outside is read somewhere inside, and dropped.
    let hit = c.live & (y < vec4<u32>(p.height)) & (x < vec4<u32>(p.width));
    let i = select(vec4<u32>(), vec4<u32>(r.word) + (y * p.width + x) * p.a_pitch + c.word, hit);
    let words = vec4<u32>(a[i.x], a[i.y], a[i.z], a[i.w]);
//% if INT
    // The padding channels of a pixel are zero, also outside: they may not count in the sum of a row.
    let outside = select(vec4<u32>(padding), vec4<u32>(padding & p.last_mask), c.last);
    return select(select(vec4<u32>(), outside, c.live), words, hit);
//% end
//% if !INT
    return select(vec4<u32>(), words, hit);
//% end
}
//% end
