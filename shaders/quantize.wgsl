// f32 or f16 [rows, columns] -> int8, four to a word. A thread quantizes sixteen neighbours of a row: one vector
// store, 2.5 times as fast on lavapipe as a word for each thread.
@group(0) @binding(2) var<storage, read> params: array<QuantParams>;   // one, [rows] or [columns]

// `q` is the row's or the tensor's, loaded once for sixteen elements: lavapipe loads lane by lane, and that is what it
// spends its time on.
fn quad(q: QuantParams, column: u32, x: vec4<f32>) -> u32 {
//% if PER_COLUMN
    let q0 = params[min(column, p.columns - 1u)];
    let q1 = params[min(column + 1u, p.columns - 1u)];
    let q2 = params[min(column + 2u, p.columns - 1u)];
    let q3 = params[min(column + 3u, p.columns - 1u)];
    let limits = vec4<i32>(q0.limits, q1.limits, q2.limits, q3.limits);
    return quantize_word(x, vec4<f32>(q0.inv_scale, q1.inv_scale, q2.inv_scale, q3.inv_scale),
        vec4<i32>(q0.zero_point, q1.zero_point, q2.zero_point, q3.zero_point),
        (limits << vec4<u32>(16u)) >> vec4<u32>(16u), limits >> vec4<u32>(16u), live4(column, p.columns));
//% end
//% if !PER_COLUMN
    // Masked also where rows are whole sixteens: on lavapipe without the select it took 1.2 times as long.
    return quantized(q, x, live4(column, p.columns));
//% end
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
//% if !PER_ROW
    // Before any branch, where lavapipe loads it once for all lanes.
    let q = params[0];
//% end
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
//% if FLAT
    let row = 0u;
//% end
//% if !FLAT
    let row = quotient(t, p.units);
//% end
    let unit = t - row * p.units;
    let column = unit * 16u;
//% if PER_ROW
    let q = params[row];
//% end
    let v = load16(row * p.x_pitch, unit);
    let words = vec4<u32>(quad(q, column, v.a), quad(q, column + 4u, v.b),
        quad(q, column + 8u, v.c), quad(q, column + 12u, v.d));
    store_words(row, unit, words);
}
