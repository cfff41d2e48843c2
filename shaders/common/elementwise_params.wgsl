// Parameters of the kernels that go through rows sixteen elements at a time; `ops::ElementwiseParams` is its twin.
struct Params {
    rows: u32,
    columns: u32,
    units: u32,       // sixteens in a row
    total: u32,       // sixteens in all
    x_pitch: u32,     // words from row to row
    out_pitch: u32,   // words from row to row
    lo: f32,          // activation: clamp to [lo, hi]
    hi: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
