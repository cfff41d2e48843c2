// The squared differences of two pictures, as they are seen, summed over each square of 8 x 8 texels.

@group(0) @binding(0) var a: texture_2d<f32>;
@group(0) @binding(1) var b: texture_2d<f32>;
@group(0) @binding(2) var surface: texture_2d<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    var square = 0.0;
    if all(id.xy < textureDimensions(a)) {
        let s = textureLoad(surface, id.xy, 0).rgb;
        let d = shown(textureLoad(a, id.xy, 0).rgb, s) - shown(textureLoad(b, id.xy, 0).rgb, s);
        square = dot(d, d);
    }
    squares[lane] = square;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            squares[lane] += squares[lane + half];
        }
    }
    if lane == 0u {
        sums[group.y * groups.x + group.x] = squares[0];
    }
}
