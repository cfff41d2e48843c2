// softmax(scale q k + mask) v of heads side by side, in one dispatch: the scores are never written. A workgroup is 8
// threads of one subgroup; each has ROWS queries of a head, 8 apart. Keys and values come 8 at a time: each thread loads
// one and hands it to all by broadcast, as in gemm_broadcast.wgsl. The largest score so far is kept, and what was summed
// is scaled down whenever a larger one is met.
struct Params {
    m: u32,             // queries
    n: u32,             // keys
    heads: u32,
    tiles: u32,         // of 8 * ROWS queries, in each head
    total: u32,         // tiles of all heads and batches
    q_pitch: u32,       // words from token to token
    k_pitch: u32,
    v_pitch: u32,
    out_pitch: u32,
    q_first: u32,       // words before the first head
    k_first: u32,
    v_first: u32,
    out_first: u32,
    mask_pitch: u32,    // words from batch to batch, 0 where all have one mask
    scale: f32,
    nan: u32,           // its bits: WGSL has no such constant
}
@group(0) @binding(0) var<uniform> p: Params;
//% if F16
alias Four = vec2<u32>;
const STEP: u32 = 2u; // words of four elements
fn four(x: Four) -> vec4<f32> { return vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y)); }
fn narrow(x: vec4<f32>) -> Four { return vec2<u32>(pack_f16(x.x, x.y), pack_f16(x.z, x.w)); }
//% end
//% if !F16
alias Four = vec4<u32>;
const STEP: u32 = 4u;
fn four(x: Four) -> vec4<f32> { return bitcast<vec4<f32>>(x); }
fn narrow(x: vec4<f32>) -> Four { return bitcast<vec4<u32>>(x); }
//% end
@group(0) @binding(1) var<storage, read> q: array<Four>;
//% if !WIDE
@group(0) @binding(2) var<storage, read> k: array<Four>;
@group(0) @binding(3) var<storage, read> v: array<Four>;
fn k_load(word: u32) -> Row {
    var row: Row;
//% for c in DV
    row[#c] = four(k[word / STEP + #cu]);
//% end
    return row;
}
fn v_load(word: u32) -> Row {
    var row: Row;
//% for c in DV
    row[#c] = four(v[word / STEP + #cu]);
//% end
    return row;
}
//% end
//% if WIDE
// Eight words at once: most of what a load costs a CPU adapter is the same for more.
@group(0) @binding(2) var<storage, read> k: array<vec4<u64>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<u64>>;
const PER_EIGHT: u32 = 8u / STEP;
fn spread(row: ptr<function, Row>, at: u32, words: vec4<u64>) {
    let a = split_words(words.xy);
    let b = split_words(words.zw);
//% if F16
    row[at] = four(a.xy);
    row[at + 1u] = four(a.zw);
    row[at + 2u] = four(b.xy);
    row[at + 3u] = four(b.zw);
//% end
//% if !F16
    row[at] = four(a);
    row[at + 1u] = four(b);
//% end
}
fn k_load(word: u32) -> Row {
    var row: Row;
//% for e in EIGHTS
    spread(&row, #eu * PER_EIGHT, k[word / 8u + #eu]);
//% end
    return row;
}
fn v_load(word: u32) -> Row {
    var row: Row;
//% for e in EIGHTS
    spread(&row, #eu * PER_EIGHT, v[word / 8u + #eu]);
//% end
    return row;
}
//% end
@group(0) @binding(4) var<storage, read> mask: array<u32>;
//% if OUT_I8
@group(0) @binding(5) var<storage, read_write> out: array<u32>;
@group(0) @binding(6) var<storage, read> out_params: array<QuantParams>;
const OUT_STEP: u32 = 1u;
//% end
//% if !OUT_I8
@group(0) @binding(5) var<storage, read_write> out: array<Four>;
const OUT_STEP: u32 = STEP;
//% end

// A head's columns of one token.
alias Row = array<vec4<f32>, DV>;
const LOWEST: f32 = -0x1.fffffep+127;

// e^d of d <= 0. Below -104 it is 0 in f32, and drivers differ.
fn weights(d: vec4<f32>) -> vec4<f32> {
    return select(exp(max(d, vec4<f32>(-104.0))), vec4<f32>(), d < vec4<f32>(-104.0));
}
fn total(x: vec4<f32>) -> f32 { return (x.x + x.y) + (x.z + x.w); }
fn most_of(x: vec4<f32>) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }
// In bits, minus infinity left out: from 0x7f800000 on the row is all NaN.
fn magnitude(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    return select(bits & vec4<u32>(0x7fffffffu), vec4<u32>(), bits == vec4<u32>(0xff800000u));
}
fn mask_at(row: u32, key: u32) -> f32 {
//% if F16
    return unpack2x16float(mask[row + key / 2u])[key % 2u];
//% end
//% if !F16
    return bitcast<f32>(mask[row + key]);
//% end
}

@compute @workgroup_size(8, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let lane = subgroup_lane & 7u;
    let tile = group.x + group.y * groups.x;
    // A tile past the last computes the last again, and stores nothing.
    let real = min(tile, p.total - 1u);
    let batch_head = real / p.tiles;
    let batch = batch_head / p.heads;
    let fours = (batch_head - batch * p.heads) * DV;
    let head = fours * STEP;
    let row0 = select(p.m, (real - batch_head * p.tiles) * 8u * ROWS + lane, tile < p.total);
    let key_of = p.k_first + batch * p.n * p.k_pitch + head;
    let value_of = p.v_first + batch * p.n * p.v_pitch + head;
    let mask_row = batch * p.mask_pitch;
//% for i in ROWS
    let q_at#i = p.q_first + (batch * p.m + min(row0 + 8u * #iu, p.m - 1u)) * p.q_pitch + head;
    var most#i = LOWEST;
    var sum#i = 0.0;
    var magnitude#i = 0u;
//% for c in DV
    let q#i_#c = four(q[q_at#i / STEP + #cu]);
    var o#i_#c = vec4<f32>();
//% end
//% end
    for (var key = 0u; key < p.n; key += 8u) {
        let own = min(key + lane, p.n - 1u);
        let key_row = k_load(key_of + own * p.k_pitch);
        // A score takes all the columns in turn, so that it need not leave its register between them.
//% for j in 8
//% for c in DV
        let k_#c_#j = subgroupBroadcast(key_row[#c], #ju);
//% end
//% for i in ROWS
        var s#i_#j = vec4<f32>();
//% for c in DV
        s#i_#j = fma(q#i_#c, k_#c_#j, s#i_#j);
//% end
//% end
//% end
        let numbers = vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u);
        let live_a = numbers < vec4<u32>(p.n);
        let live_b = numbers + vec4<u32>(4u) < vec4<u32>(p.n);
        var mask_a = vec4<f32>();
        var mask_b = vec4<f32>();
//% if MASK
        let own_mask = mask_at(mask_row, own);
        mask_a = vec4<f32>(subgroupBroadcast(own_mask, 0u), subgroupBroadcast(own_mask, 1u),
            subgroupBroadcast(own_mask, 2u), subgroupBroadcast(own_mask, 3u));
        mask_b = vec4<f32>(subgroupBroadcast(own_mask, 4u), subgroupBroadcast(own_mask, 5u),
            subgroupBroadcast(own_mask, 6u), subgroupBroadcast(own_mask, 7u));
//% end
//% for i in ROWS
        let a#i = select(vec4<f32>(LOWEST),
            vec4<f32>(total(s#i_0), total(s#i_1), total(s#i_2), total(s#i_3)) * p.scale + mask_a, live_a);
        let b#i = select(vec4<f32>(LOWEST),
            vec4<f32>(total(s#i_4), total(s#i_5), total(s#i_6), total(s#i_7)) * p.scale + mask_b, live_b);
        let now#i = max(most#i, most_of(max(a#i, b#i)));
        let down#i = weights(vec4<f32>(most#i - now#i));
        let wa#i = select(vec4<f32>(), weights(a#i - now#i), live_a);
        let wb#i = select(vec4<f32>(), weights(b#i - now#i), live_b);
        sum#i = sum#i * down#i.x + total(wa#i + wb#i);
        most#i = now#i;
        let large#i = max(magnitude(select(vec4<f32>(), a#i, live_a)), magnitude(select(vec4<f32>(), b#i, live_b)));
        magnitude#i = max(magnitude#i, max(max(large#i.x, large#i.y), max(large#i.z, large#i.w)));
//% end
        let value_row = v_load(value_of + own * p.v_pitch);
        let dead = key + lane >= p.n;
//% for c in DV
        let v_#c = select(value_row[#c], vec4<f32>(), dead);
//% for i in ROWS
        o#i_#c *= down#i;
//% end
//% for j in 4
        let va_#c_#j = subgroupBroadcast(v_#c, #ju);
        let vb_#c_#j = subgroupBroadcast(v_#c, #ju + 4u);
//% for i in ROWS
        o#i_#c = fma(vec4<f32>(wa#i[#j]), va_#c_#j, o#i_#c);
        o#i_#c = fma(vec4<f32>(wb#i[#j]), vb_#c_#j, o#i_#c);
//% end
//% end
//% end
    }
//% for i in ROWS
    {
        let wrong = magnitude#i >= 0x7f800000u || sum#i < 0.5;
        let row = row0 + 8u * #iu;
        if row < p.m {
            let at = (p.out_first + (batch * p.m + row) * p.out_pitch) / OUT_STEP + fours;
            let factor = 1.0 / sum#i;
//% for c in DV
            let y#c = select(o#i_#c * factor, vec4<f32>(bitcast<f32>(p.nan)), wrong);
//% if OUT_I8
            out[at + #cu] = quantized(out_params[0], stored(y#c), vec4<bool>(true));
//% end
//% if !OUT_I8
            out[at + #cu] = narrow(y#c);
//% end
//% end
        }
    }
//% end
}
