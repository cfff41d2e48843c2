//! From a variant to WGSL text.
//!
//! A kernel is one WGSL file, with the parts that it swaps in files of their own. A variant is a list of `const`s
//! in front of them. Register blocks need more than that: lavapipe keeps an indexed array of more than 16 vectors
//! in memory, where the same block in named variables ran five times faster (1.5 against 7.9 GFLOP/s for 32x4), so
//! three directives unroll text. They are comments to every other WGSL tool:
//!
//! ```wgsl
//! //% for i in ROWS       repeats until `//% end` with `#i` replaced by 0, 1, ...
//! //% if FLAG             keeps the text where the const is not zero
//! //% if !FLAG            keeps the text where the const is zero
//! ```

use std::fmt::Write;

/// A kernel's text and its name, ready for a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Kernel and variant, `gemm/f16 broadcast 32x8 a_vec`, say.
    pub label: String,
    /// WGSL.
    pub source: String,
}

impl Shader {
    /// The text for CPU adapters, but for a browser's: the uniform is copied before all else. llvmpipe loads from a uniform with five scalar
    /// instructions ahead of any branch, and behind one with some twenty-six of vectors, each time: pools are 1.3 times as
    /// fast so, norms and rows that are quantized 1.1 to 1.2. On a GPU the copy would only hold registers. A text whose entry is
    /// not `main` (those that measure the device) is left as it is.
    #[must_use]
    pub fn for_cpu_adapters(&self) -> Self {
        let uniform = "var<uniform> p: Params;";
        let copied = "var<uniform> given: Params;\nvar<private> p: Params;";
        let main = self.source.split_once("fn main(").and_then(|(before, main)| {
            let (arguments, body) = main.split_once(") {\n")?;
            Some(format!("{before}fn main({arguments}) {{\n    p = given;\n{body}"))
        });
        let source = main.map_or_else(|| self.source.clone(), |text| text.replace(uniform, copied));
        Self { label: self.label.clone(), source }
    }
}

/// The consts of a variant, and the files that it is made of.
pub(crate) struct Variant<'a> {
    /// Kernel and variant.
    pub label: String,
    /// WGSL extensions to enable.
    pub enable: &'a [&'a str],
    /// `const NAME: u32 = value;`, also seen by the directives.
    pub consts: &'a [(&'a str, u32)],
    /// The texts, in any order: WGSL does not mind.
    pub files: &'a [&'a str],
}

impl Variant<'_> {
    /// The text: enables, consts, then every file with its directives carried out.
    pub fn render(&self) -> Shader {
        let mut source = String::new();
        for enable in self.enable {
            let _ = writeln!(source, "enable {enable};");
        }
        for (name, value) in self.consts {
            let _ = writeln!(source, "const {name}: u32 = {value}u;");
        }
        for file in self.files {
            let lines: Vec<&str> = file.lines().collect();
            self.expand(&lines, &[], &mut source);
        }
        Shader { label: self.label.clone(), source }
    }

    /// A literal, or the value of a const.
    fn number(&self, word: &str) -> u32 {
        word.parse()
            .ok()
            .or_else(|| self.consts.iter().find(|(n, _)| *n == word).map(|(_, v)| *v))
            .unwrap_or_else(
                // Only the crate's own shaders get here, and the shader tests render them all.
                || panic!("{}: no const `{word}`", self.label),
            )
    }

    fn expand(&self, lines: &[&str], indices: &[(&str, u32)], out: &mut String) {
        let mut i = 0;
        while i < lines.len() {
            let Some(directive) = lines[i].trim_start().strip_prefix("//% ") else {
                let text = indices.iter().fold(lines[i].to_owned(), |t, (name, v)| {
                    if t.contains('#') { t.replace(&format!("#{name}"), &v.to_string()) } else { t }
                });
                out.push_str(&text);
                out.push('\n');
                i += 1;
                continue;
            };
            let end = block_end(lines, i);
            let body = &lines[i + 1..end];
            let words: Vec<&str> = directive.split_whitespace().collect();
            match words[..] {
                ["for", name, "in", count] => {
                    for v in 0..self.number(count) {
                        let mut inner = vec![(name, v)];
                        inner.extend_from_slice(indices);
                        self.expand(body, &inner, out);
                    }
                }
                ["if", flag] => {
                    let (flag, wanted) = flag.strip_prefix('!').map_or((flag, true), |f| (f, false));
                    if (self.number(flag) != 0) == wanted {
                        self.expand(body, indices, out);
                    }
                }
                _ => panic!("{}: directive `{directive}`", self.label),
            }
            i = end + 1;
        }
    }
}

/// The line of the `//% end` that closes the block opened on line `start`.
fn block_end(lines: &[&str], start: usize) -> usize {
    let mut depth = 0;
    for (i, line) in lines.iter().enumerate().skip(start) {
        match line.trim_start().strip_prefix("//% ").map(str::trim) {
            Some("end") => depth -= 1,
            Some(_) => depth += 1,
            None => {}
        }
        if depth == 0 {
            return i;
        }
    }
    panic!("`{}` is never closed", lines[start]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_unroll_and_choose() {
        let file = "a\n//% for i in N\n//% for j in 2\nx#i_#j\n//% end\n//% end\n//% if F\nyes\n//% end\n//% if !F\nno\n//% end";
        let v =
            Variant { label: "t".into(), enable: &["f16"], consts: &[("N", 2), ("F", 0)], files: &[file] };
        let text = v.render().source;
        assert_eq!(
            text,
            "enable f16;\nconst N: u32 = 2u;\nconst F: u32 = 0u;\na\nx0_0\nx0_1\nx1_0\nx1_1\nno\n"
        );
    }
}
