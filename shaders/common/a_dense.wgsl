// Rows of a dense matrix: [batch, m, k], or heads side by side in [outer, m, heads * k].
struct ARow { word: u32 }
struct Cursor { chunk: u32 }

fn a_row(batch: u32, row: u32) -> ARow { return ARow(a_of(batch) + row * p.a_pitch); }
fn cursor_at(chunk: u32) -> Cursor { return Cursor(chunk); }
fn cursor_next(c: Cursor) -> Cursor { return Cursor(c.chunk + 1u); }
//% if A_VEC
fn a_load(r: ARow, c: Cursor) -> AChunk { return a_chunk(r.word + c.chunk * STEP); }
//% end
//% if !A_VEC
fn a_load(r: ARow, c: Cursor) -> AChunk {
    let k = c.chunk * 4u;
    let w = r.word + k;
    // Reads past the row's end see the next row, or are clamped to the buffer; the select drops them.
    return select(vec4<u32>(), vec4<u32>(a[w], a[w + 1u], a[w + 2u], a[w + 3u]),
        vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(p.k_words));
}
//% end
