// A copy in another order of dimensions, or under another shape, between layouts whose rows are padded to whole words.
// A thread gathers the elements of one output word. BITS of an element; PER_WORD of them in a word.
struct Params {
    words: u32,            // output words in all
    row_words: u32,        // output words in a row
    columns: u32,          // output elements in a row
    out_pitch: u32,        // words from row to row
    x_columns: u32,        // input elements in a row
    x_pitch: u32,          // words from row to row
    // Of the output's six dimensions, from the innermost: how long, and how far apart in the input, in words or (the
    // one that is the input's innermost) in elements.
    length: array<vec4<u32>, 2>,
    words_apart: array<vec4<u32>, 2>,
    elements_apart: array<vec4<u32>, 2>,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

fn element(word: u32, column: u32) -> u32 {
//% if WHOLE
    return x[word + column];
//% end
//% if !WHOLE
    return extractBits(x[word + column / PER_WORD], (column % PER_WORD) * BITS, BITS);
//% end
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.words { return; }
    let row = t / p.row_words;
    let word = t - row * p.row_words;
    let first = word * PER_WORD;
//% if !RESHAPE
    var rest = row;
    var at = 0u;
    var column = 0u;
//% for d in 5
    {
        // Dimension 1 + d from the innermost.
        let length = p.length[(#du + 1u) / 4u][(#du + 1u) % 4u];
        let quotient = rest / length;
        let index = rest - quotient * length;
        at += index * p.words_apart[(#du + 1u) / 4u][(#du + 1u) % 4u];
        column += index * p.elements_apart[(#du + 1u) / 4u][(#du + 1u) % 4u];
        rest = quotient;
    }
//% end
//% end
    var packed = 0u;
//% for i in PER_WORD
    {
        let c = first + #iu;
        // Padding at the end of a row is written as zeros; its index is kept inside.
        let inside = min(c, p.columns - 1u);
//% if RESHAPE
        let linear = row * p.columns + inside;
        let from_row = linear / p.x_columns;
        let v = element(from_row * p.x_pitch, linear - from_row * p.x_columns);
//% end
//% if !RESHAPE
        let v = element(at + inside * p.words_apart[0].x, column + inside * p.elements_apart[0].x);
//% end
//% if WHOLE
        packed = v;
//% end
//% if !WHOLE
        packed |= select(0u, v << (#iu * BITS), c < p.columns);
//% end
    }
//% end
    out[row * p.out_pitch + word] = packed;
}
