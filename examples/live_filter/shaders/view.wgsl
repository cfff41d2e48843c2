// The picture on the screen: one side of the split as it was drawn, the other as it was filtered, and text over it.

struct View {
    /// Of the window, in its pixels.
    window: vec2f,
    /// Of the picture, in texels.
    picture: vec2f,
    /// Where the line is, from 0 at the left to 1 at the right.
    split: f32,
    /// What is at the left: 0 what was drawn, 1 what fp32 makes of it.
    left: u32,
    /// What is at the right: 0 what the variant makes, 1 its difference from fp32, times 16.
    right: u32,
    /// Pixels of the window for one of the text, 0 for none.
    zoom: u32,
    /// Of the text, in its own pixels.
    text: vec2u,
    /// Whether the window encodes what is written to it as sRGB.
    encodes: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var smoothly: sampler;
@group(0) @binding(2) var light: texture_2d<f32>;
@group(0) @binding(3) var surface: texture_2d<f32>;
@group(0) @binding(4) var filtered: texture_2d<f32>;
@group(0) @binding(5) var exact: texture_2d<f32>;
@group(0) @binding(6) var text: texture_2d<f32>;

@vertex
fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    return vec4f(f32(i & 1u) * 4.0 - 1.0, f32(i >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn draw(@builtin(position) position: vec4f) -> @location(0) vec4f {
    // The whole picture, as large as it fits.
    let size = view.picture * min(view.window.x / view.picture.x, view.window.y / view.picture.y);
    let from_ = 0.5 * (view.window - size);
    let at = (position.xy - from_) / size;
    let s = textureSampleLevel(surface, smoothly, at, 0.0).rgb;
    let drawn = shown(textureSampleLevel(light, smoothly, at, 0.0).rgb, s);
    let variant = shown(textureSampleLevel(filtered, smoothly, at, 0.0).rgb, s);
    let fp32 = shown(textureSampleLevel(exact, smoothly, at, 0.0).rgb, s);
    let left = select(drawn, fp32, view.left == 1u);
    let right = select(variant, abs(variant - fp32) * 16.0, view.right == 1u);
    var colour = select(right, left, at.x < view.split);
    let line = abs(position.x - from_.x - view.split * size.x);
    if line < 2.0 {
        colour = select(vec3f(0.0), vec3f(1.0), line < 1.0);
    }
    if any(at < vec2f(0.0)) || any(at >= vec2f(1.0)) {
        colour = vec3f(0.0);
    }
    if view.zoom > 0u {
        let place = vec2i(position.xy) / i32(view.zoom) - vec2i(6, 6);
        let margin = 4;
        if all(place >= vec2i(-margin)) && all(place < vec2i(view.text) + margin) {
            colour = colour * 0.28;
            if all(place >= vec2i(0)) && all(place < vec2i(view.text)) {
                colour = mix(colour, vec3f(0.96, 0.94, 0.88), textureLoad(text, place, 0).r);
            }
        }
    }
    if view.encodes == 1u {
        let linear = pow((colour + 0.055) / 1.055, vec3f(2.4));
        colour = select(linear, colour / 12.92, colour <= vec3f(0.04045));
    }
    return vec4f(colour, 1.0);
}
