//! Memory planned by liveness.
//!
//! WebGPU tracks the usage of a buffer as a whole: a dispatch cannot read one range of it and write another. So there
//! are several pools, each a buffer, and what a step writes lies in none of the pools that it reads. A step may say that
//! its kernel can do with one buffer, and is asked to where memory would else be wasted.

/// A range of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which pool.
    pub pool: usize,
    /// Where in it, in bytes.
    pub offset: u64,
}

/// Something that needs memory from one step to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Size in bytes.
    pub bytes: u64,
    /// The step that writes it.
    pub first: usize,
    /// The last step that touches it.
    pub last: usize,
}

/// Where everything lies, and how large the pools are.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// A place for each need, in order.
    pub places: Vec<Place>,
    /// Size of each pool in bytes.
    pub pools: Vec<u64>,
    /// The most bytes that live at once: what no plan can do without.
    pub lower_bound: u64,
}

/// What a step touches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// The needs that it reads or writes.
    pub needs: Vec<usize>,
    /// Whether they may all lie in one pool.
    pub one_buffer: bool,
}

/// Places each need; `touched` is of each step.
/// A need is written by one step, the first that touches it: what writes in several dispatches is one step.
///
/// First fit in several orders, of which the one that takes least is kept: by their steps, by size, by size and time, by
/// time; and where these are not near the bound, these shuffled a little, the same way each time. Where none is, steps
/// are held to one buffer that can do with it.
pub(crate) fn place(needs: &[Need], touched: &[Touched], align: u64, limit: u64) -> Layout {
    let strict = place_apart(needs, &apart(needs, touched, false), align, limit);
    let size = |layout: &Layout| layout.pools.iter().sum::<u64>();
    if size(&strict) <= strict.lower_bound + strict.lower_bound / 4 || touched.iter().all(|t| !t.one_buffer) {
        return strict;
    }
    let together = place_apart(needs, &apart(needs, touched, true), align, limit);
    if size(&together) < size(&strict) { together } else { strict }
}

/// The same, given which needs may not share a pool.
fn place_apart(needs: &[Need], apart: &[Vec<usize>], align: u64, limit: u64) -> Layout {
    const SHUFFLED: usize = 512;
    let last = needs.iter().map(|n| n.last).max().unwrap_or(0);
    let alive = |step: usize| needs.iter().filter(move |n| n.first <= step && step <= n.last);
    let lower_bound = (0..=last).map(|s| alive(s).map(|n| n.bytes).sum()).max().unwrap_or(0);
    let time = |n: &Need| (n.last - n.first + 1) as u64;
    let by = |key: &dyn Fn(&Need) -> (u64, u64)| {
        let mut order: Vec<usize> = (0..needs.len()).collect();
        order.sort_by_key(|&i| key(&needs[i]));
        order
    };
    let orders = [
        by(&|n| (n.first as u64, u64::MAX - n.bytes)),
        by(&|n| (u64::MAX - n.bytes, n.first as u64)),
        by(&|n| (u64::MAX - n.bytes.saturating_mul(time(n)), 0)),
        by(&|n| (u64::MAX - time(n), u64::MAX - n.bytes)),
    ];
    let mut best = (u64::MAX, Layout::default());
    let mut attempt = |order: &[usize]| {
        let mut layout = first_fit(needs, order, apart, align, limit);
        layout.lower_bound = lower_bound;
        let size: u64 = layout.pools.iter().sum();
        if size < best.0 {
            best = (size, layout);
        }
        // A twentieth is less than the padding of small tensors.
        best.0 <= lower_bound + lower_bound / 20
    };
    let near = orders.iter().any(|order| attempt(order));
    let mut state = 1u64;
    for round in 0..if near { 0 } else { SHUFFLED } {
        // Each moves by up to half of the whole, or by an eighth.
        let reach = if round / orders.len() % 2 == 0 { needs.len() / 2 } else { needs.len() / 8 };
        let mut keyed: Vec<(usize, usize)> = Vec::with_capacity(needs.len());
        for (at, &i) in orders[round % orders.len()].iter().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            keyed.push((at + (state >> 33) as usize % (reach + 1), i));
        }
        keyed.sort_unstable();
        let order: Vec<usize> = keyed.into_iter().map(|(_, i)| i).collect();
        if attempt(&order) {
            break;
        }
    }
    best.1
}

/// For each need, those that may not share a pool with it: what a step writes, and what it touches beside, unless it is
/// held to one buffer.
fn apart(needs: &[Need], touched: &[Touched], one_buffer: bool) -> Vec<Vec<usize>> {
    let mut apart = vec![Vec::new(); needs.len()];
    for (step, Touched { needs: all, .. }) in
        touched.iter().enumerate().filter(|(_, t)| !(one_buffer && t.one_buffer))
    {
        for &i in all.iter().filter(|&&i| needs[i].first == step) {
            for &j in all.iter().filter(|&&j| j != i) {
                apart[i].push(j);
                apart[j].push(i);
            }
        }
    }
    apart
}

/// In this order, each at the lowest gap that costs the least growth, among the pools that it may lie in; a new pool where
/// there is none, or where it would pass `limit`.
fn first_fit(needs: &[Need], order: &[usize], apart: &[Vec<usize>], align: u64, limit: u64) -> Layout {
    let nowhere = Place { pool: usize::MAX, offset: 0 };
    let mut layout = Layout { places: vec![nowhere; needs.len()], ..Default::default() };
    let size = |i: usize| needs[i].bytes.max(16).next_multiple_of(align);
    let mut placed: Vec<Vec<usize>> = Vec::new();
    for &i in order {
        let (need, bytes) = (needs[i], size(i));
        let barred = |pool: usize| apart[i].iter().any(|&j| layout.places[j].pool == pool);
        let candidates = (0..layout.pools.len()).filter(|&p| !barred(p)).map(|pool| {
            let together = |j: &usize| needs[*j].first <= need.last && need.first <= needs[*j].last;
            let range = |&j: &usize| (layout.places[j].offset, layout.places[j].offset + size(j));
            let mut taken: Vec<(u64, u64)> =
                placed[pool].iter().filter(|&j| together(j)).map(range).collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (begin, end) in taken {
                if offset + bytes <= begin {
                    break;
                }
                offset = offset.max(end);
            }
            ((offset + bytes).saturating_sub(layout.pools[pool]), offset, pool)
        });
        let best = candidates.filter(|&(_, offset, _)| offset + bytes <= limit).min();
        let place = best.map_or(Place { pool: layout.pools.len(), offset: 0 }, |(_, offset, pool)| Place {
            pool,
            offset,
        });
        if place.pool == layout.pools.len() {
            layout.pools.push(0);
            placed.push(Vec::new());
        }
        layout.pools[place.pool] = layout.pools[place.pool].max(place.offset + bytes);
        layout.places[i] = place;
        placed[place.pool].push(i);
    }
    layout
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict(touched: &[Vec<usize>]) -> Vec<Touched> {
        touched.iter().map(|needs| Touched { needs: needs.clone(), one_buffer: false }).collect()
    }

    /// A large product whose pool the next steps but one could use: only where a step takes one buffer.
    #[test]
    fn one_buffer_is_asked_for_where_memory_would_be_wasted() {
        let need = |bytes, first, last| Need { bytes, first, last };
        // Int8, what is made of it, int8 of that, a sum, and the sum's norm in floats and int8.
        let needs = [
            need(256, 0, 1),
            need(3072, 1, 2),
            need(256, 2, 3),
            need(1024, 3, 4),
            need(1024, 4, 6),
            need(256, 4, 5),
        ];
        let touched = [vec![0], vec![0, 1], vec![1, 2], vec![2, 3], vec![3, 4, 5]];
        let mut touched = strict(&touched);
        let taken = |touched: &[Touched]| place(&needs, touched, 256, 1 << 30).pools.iter().sum::<u64>();
        assert_eq!(taken(&touched), 3072 + 1024 + 256);
        touched[4].one_buffer = true;
        assert_eq!(taken(&touched), 3072 + 256);
    }

    #[test]
    fn a_chain_alternates_between_two_pools() {
        let needs: Vec<Need> = (0..5).map(|i| Need { bytes: 1000, first: i, last: i + 1 }).collect();
        let touched: Vec<Vec<usize>> =
            (0..5usize).map(|i| if i == 0 { vec![0] } else { vec![i - 1, i] }).collect();
        let layout = place(&needs, &strict(&touched), 256, 1 << 30);
        assert_eq!(layout.pools, [1024, 1024]);
        assert_eq!(layout.lower_bound, 2000);
    }

    /// Blocks of a transformer, in units of a token's width: the sizes that its steps make, and what they read.
    #[test]
    fn blocks_of_a_transformer_are_near_the_bound() {
        for (scores, inner) in [(1500, 4000), (1000, 2000), (4000, 4000), (1000, 4000)] {
            let (mut needs, mut touched) = (Vec::new(), Vec::new());
            let mut step = |reads: &[usize], bytes: u64| {
                let at = touched.len();
                needs.push(Need { bytes, first: at, last: at });
                touched.push([reads, &[needs.len() - 1]].concat());
                reads.iter().for_each(|&i| needs[i].last = at);
                needs.len() - 1
            };
            let mut x = step(&[], 1000);
            for _ in 0..6 {
                let normed = step(&[x], 1000);
                let qkv = step(&[normed], 3000);
                let s = step(&[qkv], scores);
                let weights = step(&[s], scores);
                let heads = step(&[weights, qkv], 1000);
                let out = step(&[heads], 1000);
                let sum = step(&[x, out], 1000);
                let normed = step(&[sum], 1000);
                let up = step(&[normed], inner);
                let down = step(&[up], 1000);
                x = step(&[sum, down], 1000);
            }
            let layout = place(&needs, &strict(&touched), 1, 1 << 30);
            let taken: u64 = layout.pools.iter().sum();
            assert!(taken * 100 <= layout.lower_bound * 125, "{taken} for {}", layout.lower_bound);
        }
    }

    #[test]
    fn a_pool_stays_below_the_limit() {
        let needs = [Need { bytes: 600, first: 0, last: 9 }, Need { bytes: 600, first: 1, last: 9 }];
        let layout = place(&needs, &strict(&[vec![0], vec![1]]), 256, 1024);
        assert_eq!(layout.pools, [768, 768]);
    }

    proptest! {
        #[test]
        fn what_lives_together_does_not_overlap(
            raw in prop::collection::vec((1u64..5000, 0usize..12, 0usize..6), 1..40)
        ) {
            let needs: Vec<Need> =
                raw.iter().map(|&(bytes, first, len)| Need { bytes, first, last: first + len }).collect();
            let touched: Vec<Vec<usize>> = (0..20)
                .map(|s| (0..needs.len()).filter(|&i| needs[i].first == s || needs[i].last == s).collect())
                .collect();
            let layout = place(&needs, &strict(&touched), 256, 1 << 30);
            for (i, a) in needs.iter().enumerate() {
                for (j, b) in needs.iter().enumerate().skip(i + 1) {
                    let (p, q) = (layout.places[i], layout.places[j]);
                    if p.pool != q.pool {
                        continue;
                    }
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = p.offset + a.bytes <= q.offset || q.offset + b.bytes <= p.offset;
                    prop_assert!(!together || apart, "{a:?} at {p:?} and {b:?} at {q:?}");
                    // Nothing is written into a pool that the same step touches.
                    prop_assert!(a.first != b.first && a.last != b.first && b.last != a.first);
                }
            }
        }
    }
}
