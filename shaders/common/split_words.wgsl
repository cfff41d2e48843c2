// What two 64-bit loads bring, as the words that lie there.
fn split_words(w: vec2<u64>) -> vec4<u32> {
    let low = vec2<u32>(w);
    let high = vec2<u32>(w >> vec2<u32>(32u));
    return vec4<u32>(low.x, high.x, low.y, high.y);
}
