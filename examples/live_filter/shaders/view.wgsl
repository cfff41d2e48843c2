// The picture on the screen: one side of the split as it was drawn, the other as it was filtered, and text over it.

struct View {
    /// Of the window, in its pixels.
    window: vec2f,
    /// Of the picture, in texels.
    picture: vec2f,
    /// Where the line is, from 0 at the left to 1 at the right.
    split: f32,
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
@group(0) @binding(2) var text: texture_2d<f32>;
@group(0) @binding(3) var surface: texture_2d<f32>;
@group(0) @binding(4) var light: texture_2d<f32>;
@group(0) @binding(5) var exact: texture_2d<f32>;

@vertex
fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    return vec4f(f32(i & 1u) * 4.0 - 1.0, f32(i >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

/// The size and the corner of the whole picture, as large as it fits.
fn place() -> vec4f {
    let size = view.picture * min(view.window.x / view.picture.x, view.window.y / view.picture.y);
    return vec4f(size, 0.5 * (view.window - size));
}

fn sampled(texture: texture_2d<f32>, at: vec2f) -> vec3f {
    return textureSampleLevel(texture, smoothly, at, 0.0).rgb;
}

/// With the line and the text over it, as the window takes it.
fn finished(picture: vec3f, at: vec2f, position: vec2f) -> vec4f {
    let place = place();
    var colour = picture;
    let line = abs(position.x - place.z - view.split * place.x);
    if line < 2.0 {
        colour = select(vec3f(0.0), vec3f(1.0), line < 1.0);
    }
    if any(at < vec2f(0.0)) || any(at >= vec2f(1.0)) {
        colour = vec3f(0.0);
    }
    if view.zoom > 0u {
        let character = vec2i(position) / i32(view.zoom) - vec2i(6, 6);
        let margin = 4;
        if all(character >= vec2i(-margin)) && all(character < vec2i(view.text) + margin) {
            colour = colour * 0.28;
            if all(character >= vec2i(0)) && all(character < vec2i(view.text)) {
                colour = mix(colour, vec3f(0.96, 0.94, 0.88), textureLoad(text, character, 0).r);
            }
        }
    }
    if view.encodes == 1u {
        let linear = pow((colour + 0.055) / 1.055, vec3f(2.4));
        colour = select(linear, colour / 12.92, colour <= vec3f(0.04045));
    }
    return vec4f(colour, 1.0);
}

@fragment
fn plain(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let place = place();
    let at = (position.xy - place.zw) / place.xy;
    return finished(shown(sampled(light, at), sampled(surface, at)), at, position.xy);
}

/// How far it is from fp32, times 16.
@fragment
fn difference(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let place = place();
    let at = (position.xy - place.zw) / place.xy;
    let s = sampled(surface, at);
    return finished(16.0 * abs(shown(sampled(light, at), s) - shown(sampled(exact, at), s)), at, position.xy);
}
