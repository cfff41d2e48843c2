// The numbers of an image, in either order of its dimensions, as the colours of a texture: number / scale + mean.
// A thread makes a texel. CHANNELS of which 1 is a grey, and 3 have no alpha: it is 1. Numbers are mixed where the sizes
// differ (RESIZE), and colours decoded or encoded at last.
struct Params {
    mean: vec4<f32>,
    scale: vec4<f32>,     // its inverse
    total: u32,           // texels
    height: u32,          // of the image
    width: u32,
    texture_height: u32,
    texture_width: u32,
    row_apart: u32,       // words from row to row of the image
    column_apart: u32,
    channel_apart: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
//% if RGBA8
@group(0) @binding(2) var out: texture_storage_2d<rgba8unorm, write>;
//% end
//% if BGRA8
@group(0) @binding(2) var out: texture_storage_2d<bgra8unorm, write>;
//% end
//% if RGBA16F
@group(0) @binding(2) var out: texture_storage_2d<rgba16float, write>;
//% end
//% if R32F
@group(0) @binding(2) var out: texture_storage_2d<r32float, write>;
//% end

fn element(row: u32, column: u32) -> vec4<f32> {
    let at = row * p.row_apart + column * p.column_apart;
    var v = vec4<f32>(x[at]);
//% if COLOUR
    v.y = x[at + p.channel_apart];
    v.z = x[at + 2u * p.channel_apart];
//% end
//% if ALPHA
    v.w = x[at + 3u * p.channel_apart];
//% end
    return v;
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = quotient(t, p.texture_width);
    let column = t - row * p.texture_width;
//% if RESIZE
    let i = between(row, p.texture_height, p.height);
    let j = between(column, p.texture_width, p.width);
    let above = mix(element(i.low, j.low), element(i.low, j.high), j.weight);
    let below = mix(element(i.high, j.low), element(i.high, j.high), j.weight);
    let v = mix(above, below, i.weight);
//% end
//% if !RESIZE
    let v = element(row, column);
//% end
    var c = colours(v * p.scale + p.mean);
//% if !ALPHA
    c.w = 1.0;
//% end
    textureStore(out, vec2<u32>(column, row), c);
}
