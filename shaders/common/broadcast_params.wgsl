// Parameters of the kernels whose operands are broadcast; `ops::BroadcastParams` is its twin.
struct Params {
    total: u32,        // threads
    quads: u32,        // fours in an output row
    columns: u32,
    out_pitch: u32,    // words from row to row
    step: vec4<u32>,   // 0 where the operand's innermost dimension repeats, else 1
    // The dimensions over the innermost, from the inside: how long, and how many words apart in the operands (0 where
    // they repeat).
    length: array<vec4<u32>, 2>,
    a_apart: array<vec4<u32>, 2>,
    b_apart: array<vec4<u32>, 2>,
    c_apart: array<vec4<u32>, 2>,
}
@group(0) @binding(0) var<uniform> p: Params;
