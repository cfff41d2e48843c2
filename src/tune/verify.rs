//! Which of several results of one problem are right: pure, so that it can be tested without a kernel that is wrong.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is kept of a candidate's result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Result {
    /// Of all of its words.
    digest: u64,
    /// The first sample that is not as the specification has it.
    wrong: Option<String>,
}

/// -0 is 0: sums may begin with either.
fn plain(word: u32, float: bool) -> u32 {
    if float && word == 1 << 31 { 0 } else { word }
}

impl Result {
    /// Of the words of an output, of f32 or i32. `samples` are indices and bits of what is right.
    pub fn new(words: &[u32], float: bool, samples: &[(usize, u32)]) -> Self {
        let shown =
            |bits: u32| if float { f32::from_bits(bits).to_string() } else { (bits as i32).to_string() };
        let wrong = samples.iter().find_map(|&(i, want)| match words.get(i) {
            Some(&word) if plain(word, float) == plain(want, float) => None,
            Some(&word) => Some(format!("element {i} is {}, not {}", shown(word), shown(want))),
            None => Some(format!("element {i} is not among {}", words.len())),
        });
        let mut hasher = DefaultHasher::new();
        words.iter().for_each(|&w| plain(w, float).hash(&mut hasher));
        Self { digest: hasher.finish(), wrong }
    }
}

/// What is wrong with each result, if anything: a sample, or that it differs from what most of those whose samples are
/// right agree on (of as many, the first).
pub(super) fn verify(results: &[Result]) -> Vec<Option<String>> {
    let mut votes: HashMap<u64, usize> = HashMap::new();
    let right = || results.iter().filter(|r| r.wrong.is_none());
    right().for_each(|r| *votes.entry(r.digest).or_default() += 1);
    let most = votes.values().copied().max().unwrap_or(0);
    let agreed = right().map(|r| r.digest).find(|digest| votes[digest] == most);
    let one = |r: &Result| match &r.wrong {
        Some(wrong) => Some(wrong.clone()),
        None if Some(r.digest) == agreed => None,
        None => Some(format!(
            "all samples are right, but elsewhere it differs from what {most} of {} agree on",
            right().count()
        )),
    };
    results.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[u32]) -> Result {
        Result::new(words, false, &[(0, 5), (2, -7i32 as u32)])
    }

    #[test]
    fn what_is_wrong_is_found_in_samples_or_by_the_others() {
        let (right, elsewhere) = (of(&[5, 6, -7i32 as u32]), of(&[5, 9, -7i32 as u32]));
        let wrong = of(&[5, 6, 8]);
        let short = of(&[5, 6]);
        let said = verify(&[elsewhere.clone(), right.clone(), wrong.clone(), right.clone(), short]);
        assert_eq!(said[1], None);
        assert_eq!(said[3], None);
        assert_eq!(said[2].as_deref(), Some("element 2 is 8, not -7"));
        assert_eq!(said[4].as_deref(), Some("element 2 is not among 2"));
        let elsewhere_is = said[0].as_deref().unwrap();
        assert!(elsewhere_is.contains("what 2 of 3 agree on"), "{elsewhere_is}");
        // Of two that differ, the first: the default.
        assert_eq!(verify(&[right.clone(), elsewhere.clone()])[0], None);
        assert!(verify(&[right, elsewhere])[1].is_some());
        assert!(verify(&[wrong.clone(), wrong])[0].is_some(), "that both agree does not make them right");
        assert!(verify(&[]).is_empty());
    }

    #[test]
    fn floats_are_equal_but_for_the_sign_of_zero() {
        let bits = |x: f32| x.to_bits();
        let of = |words: &[u32]| Result::new(words, true, &[(0, bits(0.0))]);
        let said = verify(&[of(&[bits(0.0), bits(1.5)]), of(&[bits(-0.0), bits(1.5)])]);
        assert_eq!(said, [None, None]);
        let nan = of(&[bits(f32::NAN), bits(1.5)]);
        assert_eq!(verify(&[nan])[0].as_deref(), Some("element 0 is NaN, not 0"));
    }
}
