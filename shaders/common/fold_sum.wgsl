// Sums and products of f32, or of i32, which wrap around.
//% if FLOAT
alias Acc = f32;
//% end
//% if !FLOAT
alias Acc = i32;
//% end
fn start() -> Acc { return Acc(PRODUCT); }
fn include(a: Acc, word: u32, k: u32, live: bool) -> Acc {
    let x = bitcast<Acc>(word);
//% if PRODUCT
    return select(a, a * x, live);
//% end
//% if MAGNITUDE
    return select(a, a + abs(x), live);
//% end
//% if SQUARE
    return select(a, a + x * x, live);
//% end
//% if PLAIN
    return select(a, a + x, live);
//% end
}
fn join(a: Acc, b: Acc) -> Acc {
//% if PRODUCT
    return a * b;
//% end
//% if !PRODUCT
    return a + b;
//% end
}
fn finish(a: Acc) -> u32 {
//% if MEAN
    return bitcast<u32>(a / Acc(p.n));
//% end
//% if ROOT
    return bitcast<u32>(sqrt(a));
//% end
//% if LOGARITHM
    return bitcast<u32>(log(a));
//% end
//% if AS_IS
    return bitcast<u32>(a);
//% end
}
