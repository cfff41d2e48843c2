//! Variants chosen by measurement: a right one is found and kept, in memory and in a file, and results stay what they are.

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{Rng, gpu};
use std::time::Duration;
use weighbridge::graph::Window;
use weighbridge::ops::{Choice, Layout, Origin, Patch, Problem};
use weighbridge::tensor::{Element, Tensor};
use weighbridge::tune::{TuneOptions, Verdict};
use weighbridge::{Gpu, Tuner};

const CNN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/fashion_mnist/cnn.onnx");

fn gemm(element: Element, layout: Layout, m: usize, n: usize, k: usize) -> Problem {
    let aligned = k.is_multiple_of(4 * element.per_word());
    Problem { element, weight_only: false, layout, aligned, m, n, k, batch: 1, patch: None }
}

fn conv(element: Element, channels: usize, groups: usize, n: usize) -> Problem {
    let window = Window {
        kernel: [3, 3],
        stride: [2, 1],
        pad_begin: [1, 1],
        pad_end: [1, 0],
        dilation: [1, 1],
        ceil: false,
    };
    let (size, in_group) = ([7, 9], channels / groups);
    let [oh, ow] = window.out_size(size).unwrap();
    Problem {
        element,
        weight_only: false,
        layout: Layout::Packed,
        aligned: in_group.is_multiple_of(4 * element.per_word()),
        m: 2 * oh * ow,
        n: n / groups,
        k: 9 * in_group,
        batch: groups,
        patch: Some(Patch { channels, size, window }),
    }
}

/// Another device of the adapter, with a table of its own.
fn own(shared: &Gpu) -> Gpu {
    gpu::device(shared, shared.device().features(), shared.device().limits())
}

fn quick(gpu: &Gpu) -> Tuner<'_> {
    Tuner::with_options(gpu, TuneOptions { budget: Duration::from_millis(200), again: false })
}

#[test]
fn every_kind_of_problem_is_measured_and_every_candidate_right() {
    let Some(shared) = gpu() else { return };
    let gpu = own(shared);
    // Time for all candidates: none may be wrong.
    let tuner = Tuner::with_options(&gpu, TuneOptions { budget: Duration::from_secs(600), again: false });
    let i8_batch = Problem { batch: 2, ..gemm(Element::I8, Layout::Nk, 9, 8, 36) };
    let apart = Problem { aligned: false, ..gemm(Element::F32, Layout::Packed, 17, 12, 32) };
    let weights_alone = Problem { weight_only: true, ..gemm(Element::F32, Layout::Packed, 3, 20, 64) };
    for problem in [
        gemm(Element::F32, Layout::Packed, 33, 40, 64),
        gemm(Element::F16, Layout::Kn, 4, 9, 21),
        gemm(Element::F16, Layout::Packed, 20, 24, 48),
        gemm(Element::I8, Layout::Packed, 1, 40, 1040),
        Problem { batch: 3, ..gemm(Element::F32, Layout::Packed, 6, 10, 20) },
        i8_batch,
        apart,
        weights_alone,
        conv(Element::F16, 6, 1, 5),
        conv(Element::I8, 16, 1, 20),
        conv(Element::I8, 64, 2, 32),
    ] {
        let tuned = tuner.tune(&problem).unwrap_or_else(|e| panic!("{problem:?}: {e}"));
        let candidates = Choice::candidates(gpu.device(), &problem);
        assert_eq!(tuned.trials.iter().map(|t| t.choice).collect::<Vec<_>>(), candidates, "{problem}");
        for trial in &tuned.trials {
            assert!(matches!(trial.verdict, Verdict::Timed | Verdict::Slow), "{problem}: {trial:?}");
            assert!(trial.nanoseconds.is_some_and(|t| t > 0.0), "{problem}: {trial:?}");
        }
        let [default, winner] = tuned.times().unwrap();
        assert!(winner <= default, "{tuned:?}");
        assert_eq!(gpu.kernels().choice(&problem), Some(tuned.choice));
    }
}

#[test]
fn a_class_is_measured_once() {
    let Some(shared) = gpu() else { return };
    let gpu = own(shared);
    let problem = gemm(Element::F32, Layout::Packed, 60, 16, 16);
    let first = quick(&gpu).tune(&problem).unwrap();
    assert!(!first.trials.is_empty() && first.times().is_some());
    let Origin::Tuned(measured) = first.origin else { panic!("{first:?}") };
    assert_eq!(measured.tried as usize, first.trials.len());
    // Of the same class: rows round up to the same power of two.
    let second = quick(&gpu).tune(&Problem { m: 64, ..problem }).unwrap();
    assert!(second.trials.is_empty());
    assert_eq!((second.choice, second.origin), (first.choice, first.origin));
    assert!(second.to_string().contains("from the table"), "{second}");
    let again = Tuner::with_options(&gpu, TuneOptions { again: true, ..Default::default() });
    assert!(!again.tune(&problem).unwrap().trials.is_empty());
    let all = [problem, Problem { m: 64, ..problem }, Problem { m: 8, ..problem }];
    let mut told = 0;
    let tuned = quick(&gpu).tune_all(&all, |_, of| {
        told += 1;
        assert_eq!(of, 2);
    });
    assert_eq!((tuned.unwrap().len(), told), (2, 2));
}

#[test]
fn the_budget_bounds_how_many_are_tried() {
    let Some(shared) = gpu() else { return };
    let gpu = own(shared);
    let none = Tuner::with_options(&gpu, TuneOptions { budget: Duration::ZERO, again: false });
    // One row, for which every kind of device has several variants.
    let problem = gemm(Element::I8, Layout::Packed, 1, 512, 64);
    let tuned = none.tune(&problem).unwrap();
    assert_eq!(tuned.trials.len(), 1, "the default alone");
    assert_eq!(tuned.choice, Choice::default_for(gpu.device(), &problem));
    let Origin::Tuned(measured) = tuned.origin else { panic!("{tuned:?}") };
    assert_eq!((measured.gain, measured.tried), (Some(100), 1));
    assert!(measured.candidates > 1);
    assert!(tuned.to_string().contains(&format!("the first 1 of {}", measured.candidates)), "{tuned}");
}

#[test]
fn problems_that_cannot_be_are_refused() {
    let Some(gpu) = gpu() else { return };
    let good = conv(Element::F32, 8, 1, 12);
    for (problem, why) in [
        (gemm(Element::F32, Layout::Packed, 0, 4, 4), "empty"),
        (Problem { m: good.m + 1, ..good }, "images of"),
        (Problem { k: good.k + 1, ..good }, "taps"),
        (Problem { aligned: true, ..gemm(Element::F32, Layout::Packed, 4, 4, 5) }, "contradicts itself"),
        (conv(Element::F32, 8, 8, 8), "nothing to choose"),
        (Problem { weight_only: true, batch: 2, ..gemm(Element::F32, Layout::Packed, 4, 4, 4) }, "packed"),
        (gemm(Element::U8, Layout::Packed, 4, 4, 4), "U8"),
    ] {
        let error = quick(gpu).tune(&problem).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_session_plans_anew_and_computes_the_same() {
    let Some(shared) = gpu() else { return };
    let gpu = own(shared);
    let model = weighbridge::graph::Model::from_onnx_file(CNN).unwrap();
    let int8 = weighbridge::optimize::dynamic_int8(&model, &Default::default()).unwrap();
    let name = model.value(model.inputs()[0]).name.clone();
    let shapes = [(name.as_str(), vec![3, 1, 28, 28])];
    let image = Tensor::f32([3, 1, 28, 28], Rng(5).f32s(3 * 784)).unwrap();
    for (model, exact) in [(&model, false), (&int8, true)] {
        let session = weighbridge::Session::new(&gpu, model).unwrap();
        let run = || pollster::block_on(session.run(&[(&name, &image)])).unwrap().remove(0);
        let before = run();
        assert!(session.explain(&shapes).unwrap().contains("default table ("));
        let tuned = session.tune(&quick(&gpu), &shapes).unwrap();
        assert!(!tuned.is_empty());
        let explained = session.explain(&shapes).unwrap();
        assert!(explained.contains("tuned: "), "{explained}");
        for chosen in session.chosen(&shapes).unwrap() {
            let found = tuned.iter().find(|t| t.problem.class() == chosen.problem.class()).unwrap();
            assert_eq!((chosen.choice, chosen.origin), (found.choice, found.origin));
        }
        let after = run();
        for (a, b) in after.to_f32().iter().zip(before.to_f32()) {
            // Sums of int8 are exact; those of f32 are in another order. What follows is elementwise.
            assert!(if exact { *a == b } else { (a - b).abs() <= 1e-4 * (1.0 + b.abs()) }, "{a} is not {b}");
        }
    }
}

#[cfg(feature = "serde")]
mod file {
    use super::*;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("weighbridge-tune-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_table_survives_in_a_file_beside_those_of_others() {
        let Some(shared) = gpu() else { return };
        let folder = Folder::new("round");
        let path = folder.0.join("deep/tuned.json");
        let problems = [gemm(Element::F32, Layout::Packed, 60, 16, 16), conv(Element::I8, 16, 1, 20)];
        let gpu = own(shared);
        let tuner = quick(&gpu);
        let first = tuner.tune(&problems[0]).unwrap();
        tuner.save(&path).unwrap();
        // Another process measures another problem, and the file gets both.
        let other = own(shared);
        let second = quick(&other).tune(&problems[1]).unwrap();
        quick(&other).save(&path).unwrap();
        let fresh = own(shared);
        let loaded = quick(&fresh).load(&path).unwrap();
        assert_eq!((loaded.taken, loaded.others, loaded.left_out.len()), (2, 0, 0));
        for (problem, tuned) in problems.iter().zip([&first, &second]) {
            let found = quick(&fresh).tune(problem).unwrap();
            assert_eq!((found.choice, found.origin), (tuned.choice, tuned.origin));
            assert!(found.trials.is_empty(), "not measured again");
        }
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        let text = std::fs::read_to_string(&path).unwrap();
        tuner.save(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the same table is the same file");

        // Another driver's, and another version's whose entries are not even like ours, are kept and not used.
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        file["tables"][0]["key"]["driver_info"] = "another".into();
        let mut later = file["tables"][0].clone();
        later["key"]["version"] = "99.0.0".into();
        later["entries"] = "in a form to come".into();
        file["tables"].as_array_mut().unwrap().push(later);
        std::fs::write(&path, file.to_string()).unwrap();
        let fresh = own(shared);
        let loaded = quick(&fresh).load(&path).unwrap();
        assert_eq!((loaded.taken, loaded.others), (0, 2));
        assert_eq!(fresh.kernels().choice(&problems[0]), None);
        tuner.save(&path).unwrap();
        let saved: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(saved["tables"].as_array().unwrap().len(), 3);
        assert_eq!(saved["tables"][1]["entries"], "in a form to come");
    }

    #[test]
    fn what_is_no_table_is_refused_and_left() {
        let Some(shared) = gpu() else { return };
        let folder = Folder::new("broken");
        let path = folder.0.join("tuned.json");
        let gpu = own(shared);
        let tuner = quick(&gpu);
        let problem = gemm(Element::F32, Layout::Packed, 60, 16, 16);
        assert!(tuner.load(&path).unwrap_err().to_string().contains("tuned.json"), "there is no file");
        tuner.tune(&problem).unwrap();
        tuner.save(&path).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let broken = [
            (good[..good.len() / 2].to_owned(), "not a table"),
            (good.replace("\"format\": 1", "\"format\": 7"), "format 7, but this version reads 1"),
            (good.replace("\"candidates\"", "\"candidate\""), "entries of"),
            ("[]".to_owned(), "not a table"),
            (String::new(), "not a table"),
        ];
        for (text, why) in broken {
            std::fs::write(&path, &text).unwrap();
            let fresh = own(shared);
            for error in [quick(&fresh).load(&path).unwrap_err(), tuner.save(&path).unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(why) && error.contains("tuned.json"), "{error}");
            }
            assert_eq!(fresh.kernels().choice(&problem), None);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it is left as it was");
        }
    }

    #[test]
    fn what_a_device_cannot_run_is_left_out_by_name() {
        let Some(shared) = gpu() else { return };
        if !gpu::has_broadcast(shared) {
            return;
        }
        let folder = Folder::new("features");
        let path = folder.0.join("tuned.json");
        let gpu = own(shared);
        let problem = gemm(Element::F32, Layout::Packed, 60, 16, 16);
        let tuner = quick(&gpu);
        tuner.tune(&problem).unwrap();
        tuner.save(&path).unwrap();
        let mut file: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        file["tables"][0]["entries"][0]["choice"]["blocking"] =
            serde_json::json!({ "Broadcast": { "lanes": 8, "groups": 1, "quads": 1 } });
        std::fs::write(&path, file.to_string()).unwrap();
        let less = gpu::device(shared, wgpu::Features::empty(), shared.device().limits());
        let loaded = quick(&less).load(&path).unwrap();
        assert_eq!(loaded.taken, 0);
        assert!(loaded.left_out[0].contains("SUBGROUP"), "{loaded:?}");
        assert_eq!(less.kernels().choice(&problem), None);
    }
}
