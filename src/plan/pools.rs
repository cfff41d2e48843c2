//! Memory planned by liveness.
//!
//! WebGPU tracks the usage of a buffer as a whole: a dispatch cannot read one range of it and write another. So there
//! are several pools, each a buffer, and what a step writes lies in none of the pools that it reads.

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

/// Places each need. `touched[step]` are the needs that a step reads or writes.
/// A need is written by one step, the first that touches it: what writes in several dispatches is one step.
///
/// First fit in order of the steps: among the pools that the step does not touch yet, the lowest gap that costs the
/// least growth; a new pool where there is none, or where it would pass `limit`.
pub(crate) fn place(needs: &[Need], touched: &[Vec<usize>], align: u64, limit: u64) -> Layout {
    let mut layout =
        Layout { places: vec![Place { pool: usize::MAX, offset: 0 }; needs.len()], ..Default::default() };
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&i| (needs[i].first, std::cmp::Reverse(needs[i].bytes)));
    for (at, &i) in order.iter().enumerate() {
        let need = needs[i];
        let alive = order[..at].iter().copied().filter(|&j| needs[j].last >= need.first);
        let alive: Vec<usize> = alive.collect();
        let size = need.bytes.max(16).next_multiple_of(align);
        let barred: Vec<usize> = touched
            .get(need.first)
            .into_iter()
            .flatten()
            .filter(|&&j| j != i)
            .map(|&j| layout.places[j].pool)
            .collect();
        let candidates = (0..layout.pools.len()).filter(|p| !barred.contains(p)).map(|pool| {
            let mut taken: Vec<(u64, u64)> = alive
                .iter()
                .filter(|&&j| layout.places[j].pool == pool)
                .map(|&j| {
                    let offset = layout.places[j].offset;
                    (offset, offset + needs[j].bytes.max(16).next_multiple_of(align))
                })
                .collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (begin, end) in taken {
                if offset + size <= begin {
                    break;
                }
                offset = offset.max(end);
            }
            ((offset + size).saturating_sub(layout.pools[pool]), offset, pool)
        });
        let best = candidates.filter(|&(_, offset, _)| offset + size <= limit).min();
        let place = best.map_or_else(
            || {
                layout.pools.push(0);
                Place { pool: layout.pools.len() - 1, offset: 0 }
            },
            |(_, offset, pool)| Place { pool, offset },
        );
        layout.pools[place.pool] = layout.pools[place.pool].max(place.offset + size);
        layout.places[i] = place;
    }
    let last = needs.iter().map(|n| n.last).max().unwrap_or(0);
    layout.lower_bound = (0..=last)
        .map(|s| needs.iter().filter(|n| n.first <= s && s <= n.last).map(|n| n.bytes).sum())
        .max()
        .unwrap_or(0);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_alternates_between_two_pools() {
        let needs: Vec<Need> = (0..5).map(|i| Need { bytes: 1000, first: i, last: i + 1 }).collect();
        let touched: Vec<Vec<usize>> =
            (0..5usize).map(|i| if i == 0 { vec![0] } else { vec![i - 1, i] }).collect();
        let layout = place(&needs, &touched, 256, 1 << 30);
        assert_eq!(layout.pools, [1024, 1024]);
        assert_eq!(layout.lower_bound, 2000);
    }

    #[test]
    fn a_pool_stays_below_the_limit() {
        let needs = [Need { bytes: 600, first: 0, last: 9 }, Need { bytes: 600, first: 1, last: 9 }];
        let layout = place(&needs, &[vec![0], vec![1]], 256, 1024);
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
            let layout = place(&needs, &touched, 256, 1 << 30);
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
