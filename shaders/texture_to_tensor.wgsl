// The colours of a texture as the numbers of an image, in either order of its dimensions: (colour - mean) * scale.
// A thread makes all channels of a pixel: CHANNELS, of which 1 is red, or where LUMA the brightness. Texels are decoded
// or encoded first, and then mixed where the sizes differ (RESIZE).
struct Params {
    mean: vec4<f32>,
    scale: vec4<f32>,
    total: u32,           // pixels
    height: u32,          // of the image
    width: u32,
    texture_height: u32,
    texture_width: u32,
    row_apart: u32,       // words from row to row of the image
    column_apart: u32,
    channel_apart: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var x: texture_2d<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn texel(row: u32, column: u32) -> vec4<f32> { return colours(textureLoad(x, vec2<u32>(column, row), 0)); }

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.x + group.y * groups.x) * 64u + local;
    if t >= p.total { return; }
    let row = quotient(t, p.width);
    let column = t - row * p.width;
//% if RESIZE
    let i = between(row, p.height, p.texture_height);
    let j = between(column, p.width, p.texture_width);
    let above = mix(texel(i.low, j.low), texel(i.low, j.high), j.weight);
    let below = mix(texel(i.high, j.low), texel(i.high, j.high), j.weight);
    let c = mix(above, below, i.weight);
//% end
//% if !RESIZE
    let c = texel(row, column);
//% end
    let at = row * p.row_apart + column * p.column_apart;
//% if LUMA
    out[at] = (dot(c.rgb, vec3<f32>(0.2126, 0.7152, 0.0722)) - p.mean.x) * p.scale.x;
//% end
//% if !LUMA
    let y = (c - p.mean) * p.scale;
//% for k in CHANNELS
    out[at + #ku * p.channel_apart] = y[#k];
//% end
//% end
}
