// The parameters of a row's range, once each of its threads has seen its part.
// TEAM: `p.lanes` neighbours of a workgroup of 64, from `slot * p.lanes` on, all of which must come here.
//% if TEAM
var<workgroup> shared_lo: array<i32, 64>;
var<workgroup> shared_hi: array<i32, 64>;
var<workgroup> shared_params: array<QuantParams, 64>;
//% end

fn params_of_row(scheme: Scheme, e: Extrema, slot: u32, lane: u32, local: u32) -> QuantParams {
    var lo = min(min(e.lo.x, e.lo.y), min(e.lo.z, e.lo.w));
    var hi = max(max(e.hi.x, e.hi.y), max(e.hi.z, e.hi.w));
//% if TEAM
    shared_lo[local] = lo;
    shared_hi[local] = hi;
    for (var step = p.lanes / 2u; step > 0u; step /= 2u) {
        workgroupBarrier(); // the upper half of each row's lanes written -> read by the lower
        if lane < step {
            shared_lo[local] = min(shared_lo[local], shared_lo[local + step]);
            shared_hi[local] = max(shared_hi[local], shared_hi[local + step]);
        }
    }
    lo = shared_lo[local];
    hi = shared_hi[local];
//% end
    var q = params_of_nothing(scheme);
    if lane == 0u {
        if lo <= hi { q = params_of_range(scheme, bitcast<f32>(key(lo)), bitcast<f32>(key(hi))); }
//% if TEAM
        shared_params[slot] = q;
//% end
    }
//% if TEAM
    workgroupBarrier(); // parameters chosen by the first lane -> read by all of the row's
    q = shared_params[slot];
//% end
    return q;
}
