//! ONNX Runtime in Python (`ort.py`): lines of JSON there and back, arrays in files. A session stays there between rounds.

use crate::lane::{Lane, Peer, Run};
use crate::problem::{Kind, Long, Output, Product, ROWS, SIDE, WHOLE, same};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

type Result<T> = std::result::Result<T, String>;

pub struct OnnxRuntime {
    pipe: RefCell<Pipe>,
    work: PathBuf,
    pub version: String,
    /// Empty where the plugin finds no device.
    pub webgpu: String,
}

struct Pipe {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Pipe {
    fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.to, "{question}").and_then(|()| self.to.flush()).map_err(|e| format!("ort.py: {e}"))?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|e| format!("ort.py: {e}"))?;
        let answer: Value = serde_json::from_str(&line).map_err(|e| format!("ort.py said {line:?}: {e}"))?;
        match answer["error"].as_str() {
            Some(e) => Err(e.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Drop for OnnxRuntime {
    fn drop(&mut self) {
        let pipe = self.pipe.get_mut();
        let _ = pipe.ask(&json!({ "do": "end" }));
        let _ = pipe.child.wait();
        let _ = std::fs::remove_dir_all(&self.work);
    }
}

fn write(path: &Path, values: &[f32]) -> Result<()> {
    std::fs::write(path, bytemuck::cast_slice(values)).map_err(|e| format!("{}: {e}", path.display()))
}

fn read(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect())
}

impl OnnxRuntime {
    /// Starts `command`, which is to run `ort.py`.
    pub fn start(command: &Path) -> Result<Self> {
        let work = std::env::temp_dir().join(format!("weighbridge-peers-{}", std::process::id()));
        std::fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
        let mut child = Command::new(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", command.display()))?;
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut pipe = Pipe { child, to, from: BufReader::new(from) };
        let hello = pipe.ask(&json!({ "do": "hello" }))?;
        let text = |key: &str| hello[key].as_str().unwrap_or_default().to_owned();
        Ok(Self { pipe: RefCell::new(pipe), work, version: text("version"), webgpu: text("webgpu") })
    }

    fn lane<'a>(
        &'a self,
        peer: Peer,
        op: &str,
        what: &str,
        more: Value,
        check: impl FnOnce(Vec<Vec<f32>>) -> Result<String>,
    ) -> Lane<'a> {
        let mut question =
            json!({ "do": "prepare", "op": op, "webgpu": peer == Peer::OrtWebGpu, "out": self.work });
        for (key, value) in more.as_object().into_iter().flatten() {
            question[key] = value.clone();
        }
        let made = || -> Result<Lane<'a>> {
            let answer = self.pipe.borrow_mut().ask(&question)?;
            let outputs = answer["outputs"].as_u64().unwrap_or(0);
            let outputs =
                (0..outputs).map(|i| read(&self.work.join(format!("out{i}")))).collect::<Result<_>>()?;
            let id = answer["id"].clone();
            let run: Run = Box::new(move |runs| {
                let answer = self.pipe.borrow_mut().ask(&json!({ "do": "run", "id": id, "runs": runs }))?;
                let seconds = answer["seconds"].as_f64().ok_or("ort.py gave no time")?;
                Ok(Duration::from_secs_f64(seconds))
            });
            let first = Duration::from_secs_f64(answer["first"].as_f64().unwrap_or(0.0));
            // The plugin leaves what it has no kernel for to the CPU: that is not its time.
            if answer["fallback"].as_bool() == Some(true) {
                return Err("the plugin leaves it to the CPU".into());
            }
            Ok(Lane::new(peer, what, first, check(outputs), run))
        };
        made().unwrap_or_else(|e| Lane::absent(peer, what, e))
    }

    fn peers(&self) -> Vec<Peer> {
        if self.webgpu.is_empty() { vec![Peer::OrtCpu] } else { vec![Peer::OrtWebGpu, Peer::OrtCpu] }
    }

    /// Forgets all sessions.
    pub fn clear(&self) {
        let _ = self.pipe.borrow_mut().ask(&json!({ "do": "clear" }));
    }

    pub fn products<'a>(&'a self, p: &Product) -> Vec<Lane<'a>> {
        let (a, b) = (self.work.join("a"), self.work.join("b"));
        if let Err(e) = write(&a, &p.a).and_then(|()| write(&b, &p.b)) {
            return vec![Lane::absent(Peer::OrtCpu, "", e)];
        }
        let [m, k, n] = p.shape;
        let scales = [p.a_scale, p.b_scale, p.out_scale];
        let more = json!({ "m": m, "k": k, "n": n, "a": a, "b": b, "scales": scales });
        let lane = |peer, op: &str, what: &str, output| {
            self.lane(peer, op, what, more.clone(), |y| p.check(&y[0], output))
        };
        match p.kind {
            Kind::F32 => self.peers().into_iter().map(|peer| lane(peer, "f32", "", Output::F32)).collect(),
            Kind::F16 => self.peers().into_iter().map(|peer| lane(peer, "f16", "", Output::F16)).collect(),
            Kind::I8 => {
                let mut lanes = vec![
                    lane(Peer::OrtCpu, "MatMulInteger", "i32 result", Output::Sums),
                    lane(Peer::OrtCpu, "QLinearMatMul", "requantized to int8", Output::Steps),
                ];
                // It has no integer product but this: weights in 8 bits by floats.
                if !self.webgpu.is_empty() {
                    let (a, b) = p.reals();
                    let check = |y: Vec<Vec<f32>>| {
                        let exact = crate::problem::Exact::new(p.shape, &a, &b);
                        exact.check_f32(&y[0], k, 3).map(|()| "weights alone are int8".into())
                    };
                    lanes.push(self.lane(Peer::OrtWebGpu, "MatMulNBits", "f32 result", more.clone(), check));
                }
                lanes
            }
        }
    }

    fn long<'a>(
        &'a self,
        x: &Long,
        cases: &[(Peer, &str, &str)],
        check: impl Fn(&str, Vec<Vec<f32>>) -> Result<String>,
    ) -> Vec<Lane<'a>> {
        let a = self.work.join("a");
        if let Err(e) = write(&a, &x.x) {
            return vec![Lane::absent(Peer::OrtCpu, "", e)];
        }
        let more = json!({ "a": a, "side": SIDE, "scales": [x.absmax() / 127.0] });
        cases
            .iter()
            .filter(|(peer, ..)| self.peers().contains(peer))
            .map(|&(peer, op, what)| self.lane(peer, op, what, more.clone(), |y| check(op, y)))
            .collect()
    }

    pub fn minmax<'a>(&'a self, x: &Long) -> Vec<Lane<'a>> {
        let cases = [
            (Peer::OrtWebGpu, "minmax", WHOLE),
            (Peer::OrtWebGpu, "row_max", ROWS),
            (Peer::OrtCpu, "minmax", WHOLE),
            (Peer::OrtCpu, "row_max", ROWS),
        ];
        self.long(x, &cases, |op, y| match op {
            "minmax" => same(&[y[0][0], y[1][0]], &[x.min, x.max]),
            _ => same(&y[0], &x.row_max()).map(|_| "the largest alone".into()),
        })
    }

    pub fn quantize<'a>(&'a self, x: &Long) -> Vec<Lane<'a>> {
        let cases = [(Peer::OrtWebGpu, "QuantizeLinear", ""), (Peer::OrtCpu, "QuantizeLinear", "")];
        let scale = x.absmax() / 127.0;
        self.long(x, &cases, |_, y| x.check_steps(&y[0], |_| scale, 0.0, [-128.0, 127.0]))
    }

    pub fn quantize_dynamic<'a>(&'a self, x: &Long) -> Vec<Lane<'a>> {
        let cases = [
            (Peer::OrtWebGpu, "DynamicQuantizeLinear", WHOLE),
            (Peer::OrtCpu, "DynamicQuantizeLinear", WHOLE),
        ];
        self.long(x, &cases, |_, y| {
            let (scale, zero) = (y[1][0], y[2][0]);
            let want = (x.max - x.min) / 255.0;
            if (scale / want - 1.0).abs() > 4.0 * f32::EPSILON {
                return Err(format!("scale {scale}, not {want}"));
            }
            x.check_steps(&y[0], |_| scale, f64::from(zero), [0.0, 255.0])
        })
    }
}
