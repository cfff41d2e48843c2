//! The text of every kernel, rendered without a device.

use crate::kernel::Shader;
use crate::kernel::{Blocking, Layout, Operand};
use crate::ops::function;
use crate::ops::rows::REALS;
use crate::ops::tile::{Form, Int8, Source, Stage};
use crate::tensor::Element;

const OPERANDS: [Operand; 6] =
    [Operand::F32, Operand::F16, Operand::F16Native, Operand::I8Dot, Operand::I8Wide, Operand::I8Int];

/// The smallest and the largest register blocks, and those with shapes of their own.
const BLOCKINGS: [Blocking; 5] = [
    Blocking::Broadcast { lanes: 8, groups: 1, quads: 1 },
    Blocking::Broadcast { lanes: 8, groups: 4, quads: 2 },
    Blocking::Direct { lanes: 8, rows: 8, quads: 1 },
    Blocking::Direct { lanes: 8, rows: 1, quads: 4 },
    Blocking::TILED,
];

/// Further shapes of the same kernels, of which the ways in are not all combined.
const MORE_BLOCKINGS: [Blocking; 4] = [
    Blocking::Parted { lanes: 8, parts: 4, rows: 2, quads: 1 },
    Blocking::tiled(32, 32),
    Blocking::tiled(128, 64),
    Blocking::tiled(128, 128),
];

/// Every kernel in every variant, but that of the gemm family's register blocks, which may be of any size, there are
/// the extremes, and that its ways in (operands, sources, layouts, blocks) are not all combined with its ways out
/// (epilogues), which share no text: for checks of the WGSL that need no GPU, and for translating it ahead of time.
pub fn catalogue() -> Vec<Shader> {
    let ways_in = ways_in().into_iter().map(|form| form.shader(name(&form)));
    let ways_out = ways_out().into_iter().map(|form| form.shader(name(&form)));
    let functions = functions().into_iter().map(|form| form.shader(name(&form)));
    let weight_only = weight_only().into_iter().map(|form| form.shader(name(&form)));
    let heads = heads().into_iter().map(|form| form.shader(name(&form)));
    let units = matrix_units().into_iter().map(|form| form.shader(name(&form)));
    let more = more().into_iter().map(|form| form.shader(name(&form)));
    let pooled = pooled().into_iter().map(|form| form.shader(name(&form)));
    let family = ways_in
        .chain(ways_out)
        .chain(functions)
        .chain(heads)
        .chain(weight_only)
        .chain(more)
        .chain(units)
        .chain(pooled);
    family.chain(super::shaders()).collect()
}

fn name(form: &Form) -> &'static str {
    match (form.source, form.is_int8()) {
        _ if form.operand.weight_only() => "gemm weight-only",
        (Source::Dense | Source::Heads, false) => "gemm",
        (Source::Dense, true) => "gemm_i8",
        _ => "conv",
    }
}

/// A form with the least that there is to it.
fn plain(operand: Operand, blocking: Blocking, source: Source) -> Form {
    Form {
        operand,
        blocking,
        source,
        layout: Layout::Packed,
        out: Element::F32,
        bias: false,
        activate: false,
        function: None,
        a_vec: true,
        one: false,
        out_vec: false,
        out_wide: false,
        fold: false,
        wide: false,
        paired: false,
        stage: Stage::Whole,
        max_pool: false,
        int8: Int8::default(),
    }
}

/// All functions at the end of one form, and one at the end of each form's epilogue.
fn functions() -> Vec<Form> {
    let small = Blocking::Direct { lanes: 8, rows: 1, quads: 1 };
    let ended = |form: Form, flag| Form { function: Some(flag), bias: true, ..form };
    let mut all: Vec<Form> = function::flags()
        .into_iter()
        .map(|flag| ended(plain(Operand::F32, small, Source::Dense), flag))
        .collect();
    let forms = BLOCKINGS.map(|blocking| (blocking, Source::Dense));
    for (blocking, source) in forms.into_iter().chain([(small, Source::Grouped { depthwise: true })]) {
        for operand in [Operand::F32, Operand::I8Wide] {
            all.extend(REALS.map(|out| ended(Form { out, ..plain(operand, blocking, source) }, "GELU")));
        }
    }
    all
}

const BOTH: [bool; 2] = [false, true];

/// Products side by side, of floats.
fn heads() -> Vec<Form> {
    let mut all = Vec::new();
    for operand in [Operand::F32, Operand::F16] {
        for blocking in BLOCKINGS {
            for (layout, a_vec) in [Layout::Nk, Layout::Kn].into_iter().flat_map(|l| BOTH.map(|vec| (l, vec)))
            {
                for out in REALS {
                    let form = Form { layout, a_vec, out, ..plain(operand, blocking, Source::Heads) };
                    all.push(Form { out_vec: a_vec && out == Element::F32, ..form });
                }
            }
        }
    }
    all
}

/// All ways in which operands reach a thread.
fn ways_in() -> Vec<Form> {
    let mut all = Vec::new();
    for operand in OPERANDS {
        for blocking in BLOCKINGS {
            let dense = [Layout::Nk, Layout::Kn, Layout::Packed].map(|layout| (Source::Dense, layout));
            for (source, layout) in dense.into_iter().chain([(Source::Patch, Layout::Packed)]) {
                for a_vec in BOTH {
                    // Native f16 is refused where it does not come in whole vectors.
                    if operand == Operand::F16Native && !(a_vec && layout == Layout::Packed) {
                        continue;
                    }
                    let form = Form { layout, a_vec, ..plain(operand, blocking, source) };
                    for fold in BOTH.into_iter().filter(|fold| !fold || operand == Operand::I8Wide) {
                        for b_zero in BOTH.into_iter().filter(|zero| !zero || form.is_int8()) {
                            all.push(Form { fold, int8: Int8 { b_zero, ..Int8::default() }, ..form });
                        }
                    }
                }
            }
        }
    }
    all
}

/// Other shapes, 64-bit loads, and sums in parts.
fn more() -> Vec<Form> {
    let mut all = Vec::new();
    for operand in OPERANDS.into_iter().chain([Operand::F32I8, Operand::F16I8]) {
        let native = operand == Operand::F16Native;
        let sources =
            if operand.weight_only() { &[Source::Dense][..] } else { &[Source::Dense, Source::Patch] };
        let folds = matches!(operand, Operand::I8Wide | Operand::F32I8 | Operand::F16I8);
        let mut push = |form: Form| {
            for fold in BOTH.into_iter().filter(|fold| !fold || folds) {
                for b_zero in BOTH.into_iter().filter(|zero| !zero || form.is_int8()) {
                    all.push(Form { fold, int8: Int8 { b_zero, ..Int8::default() }, ..form });
                }
            }
        };
        for &source in sources {
            for blocking in MORE_BLOCKINGS {
                for a_vec in BOTH.into_iter().filter(|vec| *vec || !native) {
                    push(Form { a_vec, ..plain(operand, blocking, source) });
                }
            }
            if source == Source::Patch && operand != Operand::F32 && !native {
                for blocking in BLOCKINGS {
                    push(Form { a_vec: false, one: true, ..plain(operand, blocking, source) });
                }
            }
            for blocking in BLOCKINGS {
                if !native {
                    let wide = Form { wide: true, ..plain(operand, blocking, source) };
                    push(wide);
                    let pairs = matches!(blocking, Blocking::Direct { quads: 4, .. });
                    if pairs && !operand.weight_only() {
                        push(Form { paired: true, ..wide });
                    }
                }
            }
            for a_vec in BOTH.into_iter().filter(|vec| *vec || !native) {
                push(Form { stage: Stage::Part, a_vec, ..plain(operand, Blocking::TILED, source) });
            }
        }
        let sum = Form { stage: Stage::Sum, bias: true, ..plain(operand, Blocking::TILED, Source::Dense) };
        let function = Some("GELU");
        push(sum);
        for out in [Element::F16, Element::I8] {
            push(Form { out, function, ..sum });
        }
        push(Form { out_vec: true, activate: true, source: Source::Heads, ..sum });
    }
    all
}

/// A max pool of what a convolution makes, in every blocking that can and every way out.
fn pooled() -> Vec<Form> {
    let mut all = Vec::new();
    for operand in [Operand::F32, Operand::F16, Operand::I8Dot, Operand::I8Int] {
        for blocking in BLOCKINGS.into_iter().chain(MORE_BLOCKINGS).filter(|b| b.finishes_fours()) {
            for out in REALS {
                let form =
                    Form { max_pool: true, out, bias: true, ..plain(operand, blocking, Source::Patch) };
                let b_zero = form.is_int8();
                all.extend([form, Form { a_vec: false, one: true, activate: true, ..form }]);
                let function = (!b_zero).then_some("GELU");
                all.push(Form {
                    function,
                    int8: Int8 { b_zero, ..Int8::default() },
                    out_vec: out != Element::I8,
                    ..form
                });
            }
        }
    }
    all
}

/// Matrix units: every way in, for each kind of them.
fn matrix_units() -> Vec<Form> {
    let mut all = Vec::new();
    for operand in [Operand::F16Matrix, Operand::I8Matrix] {
        for (side, threads) in [(8, 128), (16, 64), (16, 128), (16, 256)] {
            let blocking = Blocking::Matrix { side, threads };
            for source in [Source::Dense, Source::Patch] {
                let form = plain(operand, blocking, source);
                all.extend([form, Form { a_vec: false, fold: form.is_int8(), ..form }]);
                let b_zero = form.is_int8();
                all.push(Form { fold: b_zero, int8: Int8 { b_zero, ..Int8::default() }, bias: true, ..form });
            }
            let dense = Form { a_vec: false, ..plain(operand, blocking, Source::Dense) };
            all.extend([Layout::Nk, Layout::Kn].map(|layout| Form { layout, ..dense }));
            all.push(Form { out: Element::I8, ..dense });
        }
    }
    all
}

/// Int8 weights beside floats: with a scale for each column, and for each group along k.
fn weight_only() -> Vec<Form> {
    let mut all = Vec::new();
    for operand in [Operand::F32I8, Operand::F16I8] {
        for blocking in BLOCKINGS {
            for (fold, a_vec) in [(false, false), (false, true), (true, true)] {
                let form = Form { fold, a_vec, ..plain(operand, blocking, Source::Dense) };
                let to = |out| Form { out, bias: true, activate: true, ..form };
                all.extend([form, to(operand.element()), to(Element::I8)]);
            }
        }
    }
    all.extend(all.clone().into_iter().map(|form| Form { function: Some("GELU"), ..form }));
    all
}

/// All ways in which sums become outputs, from a matrix product and from a convolution in small groups.
fn ways_out() -> Vec<Form> {
    let small = Blocking::Direct { lanes: 8, rows: 1, quads: 1 };
    let sources = [Source::Dense, Source::Grouped { depthwise: false }, Source::Grouped { depthwise: true }];
    let mut all = Vec::new();
    for source in sources {
        for operand in [Operand::F32, Operand::F16, Operand::I8Dot] {
            let form = plain(operand, small, source);
            let outs: &[_] = if form.is_int8() {
                &[Element::F32, Element::F16, Element::I32, Element::I8]
            } else {
                &REALS
            };
            for &out in outs {
                for flags in 0..128u32 {
                    let [activate, out_vec, bias, bias_i32, a_per_row, b_per_channel, b_zero] =
                        std::array::from_fn(|bit| flags >> bit & 1 == 1);
                    let int8 = Int8 { a_per_row, b_per_channel, b_zero, bias_i32 };
                    let impossible = (!form.is_int8() && int8 != Int8::default())
                        || (bias_i32 && !bias)
                        || (out_vec && out == Element::I8)
                        || (out == Element::I32 && (activate || (bias && !bias_i32)));
                    if !impossible {
                        let form = Form { out, activate, out_vec, bias, int8, ..form };
                        let wide = out_vec && bias && out != Element::I32;
                        all.extend(wide.then_some(Form { out_wide: true, ..form }));
                        all.push(form);
                    }
                }
            }
        }
    }
    all
}
