// A small path tracer: spheres and boxes on a tiled floor, lit by spheres and a sky. Of each pixel it sees the first
// surface without noise, and the light that falls on it with much.

const FAR = 1e9;
const PI = 3.14159265;
/// What a sample may bring at most: a path that finds a lamp by chance would be a white dot otherwise.
const BRIGHTEST = 6.0;
const FLOOR = -1;
const SKY = -2;

struct Object {
    centre: vec3f,
    /// 0 for a box.
    radius: f32,
    /// Half of a box's edges.
    extent: vec3f,
    roughness: f32,
    /// What a metal reflects, what anything else scatters.
    albedo: vec3f,
    metal: f32,
    /// Of a lamp.
    emission: vec3f,
    pad: f32,
    /// Cosine and sine of a box's angle about the vertical.
    turn: vec4f,
}

struct Scene {
    eye: vec3f,
    samples: u32,
    right: vec3f,
    seed: u32,
    up: vec3f,
    /// The first objects are lamps, then other spheres, then boxes.
    lamps: u32,
    forward: vec3f,
    spheres: u32,
    sun: vec3f,
    objects: u32,
    object: array<Object, 32>,
}

@group(0) @binding(0) var<uniform> scene: Scene;

struct Targets {
    /// The square root of the light that falls on the surface, and how near it is.
    @location(0) light: vec4f,
    /// The normal, and how rough it is, all in [0, 1].
    @location(1) guide: vec4f,
    /// What the light is multiplied with.
    @location(2) surface: vec4f,
}

struct Corner {
    @builtin(position) position: vec4f,
    @location(0) at: vec2f,
}

@vertex
fn corner(@builtin(vertex_index) i: u32) -> Corner {
    let at = vec2f(f32(i & 1u) * 4.0 - 1.0, f32(i >> 1u) * 4.0 - 1.0);
    return Corner(vec4f(at, 0.0, 1.0), at);
}

var<private> random_state: u32;

/// Numbers in [0, 1): a permuted congruential generator.
fn random() -> f32 {
    random_state = random_state * 747796405u + 2891336453u;
    var word = ((random_state >> ((random_state >> 28u) + 4u)) ^ random_state) * 277803737u;
    word = (word >> 22u) ^ word;
    return f32(word >> 8u) / 16777216.0;
}

fn scrambled(x: u32) -> u32 {
    var h = x * 0x85ebca6bu;
    h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
    return h ^ (h >> 16u);
}

/// A direction within the cone about `axis` whose half angle has this cosine, uniform over the solid angle.
fn in_cone(axis: vec3f, cosine: f32) -> vec3f {
    let c = 1.0 - random() * (1.0 - cosine);
    let s = sqrt(max(0.0, 1.0 - c * c));
    let turn = 2.0 * PI * random();
    let side = normalize(cross(axis, select(vec3f(1.0, 0.0, 0.0), vec3f(0.0, 1.0, 0.0), abs(axis.y) < 0.7)));
    return axis * c + (side * cos(turn) + cross(axis, side) * sin(turn)) * s;
}

/// A direction whose density goes with the cosine to the normal.
fn above(normal: vec3f) -> vec3f {
    return normalize(normal * 1.0001 + in_cone(normal, -1.0));
}

fn sky(d: vec3f) -> vec3f {
    let height = sqrt(clamp(d.y, 0.0, 1.0));
    let base = mix(vec3f(0.95, 0.55, 0.36), vec3f(0.10, 0.20, 0.48), smoothstep(0.0, 0.75, height)) * 0.55;
    let glow = pow(max(0.0, dot(d, scene.sun)), 12.0);
    return base + vec3f(1.0, 0.6, 0.3) * glow * 0.8;
}

fn meets_sphere(from_: vec3f, d: vec3f, centre: vec3f, radius: f32) -> f32 {
    let o = from_ - centre;
    let b = dot(o, d);
    // The distance of the ray from the centre, not a difference of large squares.
    let across = o - b * d;
    let h = radius * radius - dot(across, across);
    let t = -b - sqrt(max(h, 0.0));
    return select(FAR, t, h > 0.0 && t > 0.0);
}

fn turned(v: vec3f, turn: vec2f) -> vec3f {
    return vec3f(turn.x * v.x + turn.y * v.z, v.y, turn.x * v.z - turn.y * v.x);
}

fn meets_box(from_: vec3f, d: vec3f, i: u32) -> f32 {
    let turn = scene.object[i].turn.xy;
    let o = turned(from_ - scene.object[i].centre, turn);
    let inverse = 1.0 / turned(d, turn);
    let middle = -o * inverse;
    let reach = abs(inverse) * scene.object[i].extent;
    let enter = middle - reach;
    let leave = middle + reach;
    let t = max(max(enter.x, enter.y), enter.z);
    return select(FAR, t, t > 0.0 && t < min(min(leave.x, leave.y), leave.z));
}

struct Hit {
    t: f32,
    object: i32,
}

fn nearest(from_: vec3f, d: vec3f) -> Hit {
    var hit = Hit(FAR, SKY);
    if d.y < 0.0 {
        hit = Hit(-from_.y / d.y, FLOOR);
    }
    for (var i = 0u; i < scene.spheres; i++) {
        let t = meets_sphere(from_, d, scene.object[i].centre, scene.object[i].radius);
        if t < hit.t {
            hit = Hit(t, i32(i));
        }
    }
    for (var i = scene.spheres; i < scene.objects; i++) {
        let t = meets_box(from_, d, i);
        if t < hit.t {
            hit = Hit(t, i32(i));
        }
    }
    return hit;
}

/// Whether something lies between. Lamps do not.
fn is_shadowed(from_: vec3f, d: vec3f, distance: f32) -> bool {
    var closest = FAR;
    for (var i = scene.lamps; i < scene.spheres; i++) {
        closest = min(closest, meets_sphere(from_, d, scene.object[i].centre, scene.object[i].radius));
    }
    for (var i = scene.spheres; i < scene.objects; i++) {
        closest = min(closest, meets_box(from_, d, i));
    }
    return closest < distance;
}

struct Surface {
    at: vec3f,
    normal: vec3f,
    albedo: vec3f,
    roughness: f32,
    metal: f32,
}

fn surface_of(from_: vec3f, d: vec3f, hit: Hit) -> Surface {
    let at = from_ + d * hit.t;
    if hit.object < 0 {
        let tile = floor(at.xz * 0.8);
        let within = abs(fract(at.xz * 0.8) - 0.5);
        let dark = (i32(tile.x) + i32(tile.y)) & 1;
        var albedo = select(vec3f(0.62, 0.58, 0.52), vec3f(0.10, 0.11, 0.14), dark == 1);
        albedo *= 0.85 + 0.3 * f32(scrambled(bitcast<u32>(i32(tile.x) * 7919 + i32(tile.y))) & 255u) / 255.0;
        var roughness = select(0.45, 0.10, dark == 1);
        if max(within.x, within.y) > 0.485 {
            albedo = vec3f(0.22, 0.21, 0.2);
            roughness = 0.9;
        }
        return Surface(at, vec3f(0.0, 1.0, 0.0), albedo, roughness, 0.0);
    }
    let o = scene.object[hit.object];
    var normal = (at - o.centre) / max(o.radius, 1e-6);
    if o.radius == 0.0 {
        let local = turned(at - o.centre, o.turn.xy) / o.extent;
        let size = abs(local);
        let largest = max(max(size.x, size.y), size.z);
        normal = turned(select(vec3f(0.0), sign(local), size == vec3f(largest)), vec2f(o.turn.x, -o.turn.y));
    }
    return Surface(at, normalize(normal), o.albedo, o.roughness, o.metal);
}

/// The light of one lamp, drawn by chance, for all of them.
fn lamplight(at: vec3f, normal: vec3f) -> vec3f {
    let i = min(u32(random() * f32(scene.lamps)), scene.lamps - 1u);
    let lamp = scene.object[i];
    let to = lamp.centre - at;
    let distance = length(to);
    let sine = min(lamp.radius / distance, 0.999);
    let cosine = sqrt(1.0 - sine * sine);
    let d = in_cone(to / distance, cosine);
    let facing = dot(normal, d);
    if facing <= 0.0 || is_shadowed(at + normal * 1e-3, d, distance - lamp.radius) {
        return vec3f(0.0);
    }
    // The cone's solid angle over pi.
    return lamp.emission * (facing * 2.0 * sine * sine / (1.0 + cosine) * f32(scene.lamps));
}

/// What comes back along a ray that left a surface.
fn bounced(from_: vec3f, d: vec3f, glossy: bool) -> vec3f {
    let hit = nearest(from_, d);
    if hit.object == SKY {
        return sky(d);
    }
    if hit.object >= 0 && u32(hit.object) < scene.lamps {
        // Diffuse surfaces have had the lamps' light already.
        return select(vec3f(0.0), scene.object[hit.object].emission, glossy);
    }
    let s = surface_of(from_, d, hit);
    let mirrored = sky(reflect(d, s.normal));
    let light = lamplight(s.at, s.normal) + sky(s.normal) * 0.35;
    return s.albedo * mix(light, mirrored + 0.3 * light, s.metal);
}

@fragment
fn draw(in: Corner) -> Targets {
    let pixel = vec2u(in.position.xy);
    random_state = scrambled(pixel.x + scrambled(pixel.y + scrambled(scene.seed)));
    let d = normalize(scene.forward + in.at.x * scene.right + in.at.y * scene.up);
    let hit = nearest(scene.eye, d);
    if hit.object == SKY {
        return Targets(vec4f(sqrt(sky(d)), 0.0), vec4f(0.5, 0.5, 0.5, 1.0), vec4f(1.0));
    }
    let near = 1.0 / (1.0 + 0.15 * hit.t);
    if hit.object >= 0 && u32(hit.object) < scene.lamps {
        let light = min(scene.object[hit.object].emission, vec3f(BRIGHTEST));
        return Targets(vec4f(sqrt(light), near), vec4f(0.5, 0.5, 0.5, 1.0), vec4f(1.0));
    }
    let s = surface_of(scene.eye, d, hit);
    let facing = max(0.0, -dot(d, s.normal));
    let smooth_ = 1.0 - s.roughness;
    let edge = pow(1.0 - facing, 5.0) * smooth_ * smooth_;
    let at_front = mix(vec3f(0.04), s.albedo, s.metal);
    let mirror = at_front + (1.0 - at_front) * edge;
    let scatter = s.albedo * (1.0 - s.metal) * (1.0 - mirror);
    let haze = 1.0 - exp(-0.0012 * hit.t * hit.t);
    let behind = sky(normalize(vec3f(d.x, max(d.y, 0.02), d.z)));
    let surface = max(mix(scatter + mirror, vec3f(1.0), haze), vec3f(0.02));

    let weigh = vec3f(0.3, 0.6, 0.1);
    let chance = clamp(dot(mirror, weigh) / dot(mirror + scatter, weigh), 0.15, 0.85);
    // As wide as a lobe of this roughness is, roughly.
    let lobe = 1.0 - 0.75 * s.roughness * s.roughness;
    var sum = vec3f(0.0);
    let start = s.at + s.normal * 1e-3;
    for (var i = 0u; i < scene.samples; i++) {
        var light = scatter * lamplight(s.at, s.normal);
        if random() < chance {
            let out = in_cone(reflect(d, s.normal), lobe);
            if dot(out, s.normal) > 0.0 {
                light += mirror * min(bounced(start, out, true), vec3f(BRIGHTEST)) / chance;
            }
        } else {
            light += scatter * min(bounced(start, above(s.normal), false), vec3f(BRIGHTEST)) / (1.0 - chance);
        }
        sum += min(mix(light, behind, haze) / surface, vec3f(2.0 * BRIGHTEST));
    }
    let light = sqrt(min(sum / f32(scene.samples), vec3f(BRIGHTEST)));
    return Targets(vec4f(light, near), vec4f(s.normal * 0.5 + 0.5, s.roughness), vec4f(surface, 1.0));
}
