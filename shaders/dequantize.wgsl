// int8 [rows, columns], four to a word -> f32 or f16: f32(q - zero_point) * scale. A thread takes sixteen neighbours
// of a row.
struct Sixteen { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }
//% if X_VEC
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
//% end
//% if !X_VEC
@group(0) @binding(1) var<storage, read> x: array<u32>;
//% end
@group(0) @binding(2) var<storage, read> params: array<QuantParams>;   // one, [rows] or [columns]

fn live4(column: u32, columns: u32) -> vec4<bool> {
    return vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(columns);
}
// `q` is the row's or the tensor's, loaded once for sixteen elements: lavapipe loads lane by lane, and that is what it
// spends its time on.
fn quad(q: QuantParams, column: u32, word: u32) -> vec4<f32> {
    let i = unpack4xI8(word);
//% if PER_COLUMN
    let q0 = params[min(column, p.columns - 1u)];
    let q1 = params[min(column + 1u, p.columns - 1u)];
    let q2 = params[min(column + 2u, p.columns - 1u)];
    let q3 = params[min(column + 3u, p.columns - 1u)];
    return vec4<f32>(i - vec4<i32>(q0.zero_point, q1.zero_point, q2.zero_point, q3.zero_point))
        * vec4<f32>(q0.scale, q1.scale, q2.scale, q3.scale);
//% end
//% if !PER_COLUMN
    return vec4<f32>(i - vec4<i32>(q.zero_point)) * q.scale;
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
    let at = row * p.x_pitch + unit * 4u;
//% if X_VEC
    let w = x[at / 4u];
//% end
//% if !X_VEC
    let w = vec4<u32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
//% end
    let column = unit * 16u;
//% if PER_ROW
    let q = params[row];
//% end
    store16(row, unit, Sixteen(quad(q, column, w.x), quad(q, column + 4u, w.y),
        quad(q, column + 8u, w.z), quad(q, column + 12u, w.w)));
}
