// The largest, or where `flip` is all ones the smallest, or its place. In integer keys that are ordered as the numbers
// are: a NaN is above all, and zeros are equal.
struct Acc { key: i32, place: u32 }
const HIGHEST: i32 = 0x7fffffff;

fn key_of(word: u32) -> i32 {
//% if FLOAT
    let magnitude = word & 0x7fffffffu;
    if magnitude > 0x7f800000u { return HIGHEST; }
    let bits = bitcast<i32>(select(word, 0u, magnitude == 0u));
    return (bits ^ ((bits >> 31u) & 0x7fffffff)) ^ bitcast<i32>(p.flip);
//% end
//% if !FLOAT
    return bitcast<i32>(word ^ p.flip);
//% end
}
fn start() -> Acc {
//% if FLOAT
    return Acc(-0x7f800001, 0u); // minus infinity, or flipped infinity
//% end
//% if !FLOAT
    return Acc(-HIGHEST - 1, 0u);
//% end
}
fn include(a: Acc, word: u32, k: u32, live: bool) -> Acc {
    var b = Acc(key_of(word), k);
    // The first element that a thread sees replaces what it starts with, whose place is none.
    let better = b.key > a.key || (b.key == a.key && (p.latest == 1u || a.place == 0u));
    b.place += 1u;
    if live && better { return b; }
    return a;
}
// Places are counted from 1 until the end; 0 is nothing.
fn join(a: Acc, b: Acc) -> Acc {
    let later = b.place > a.place;
    let takes = select(!later, later, p.latest == 1u) || a.place == 0u;
    let better = b.key > a.key || (b.key == a.key && takes);
    if better && b.place != 0u { return b; }
    return a;
}
fn finish(a: Acc) -> u32 {
//% if PLACE
    return max(a.place, 1u) - 1u;
//% end
//% if !PLACE
//% if FLOAT
    if a.key == HIGHEST { return 0x7fc00000u; }
    let key = a.key ^ bitcast<i32>(p.flip);
    return bitcast<u32>(key ^ ((key >> 31u) & 0x7fffffff));
//% end
//% if !FLOAT
    return bitcast<u32>(a.key) ^ p.flip;
//% end
//% end
}
