//! `bindgen FILE.wasm FOLDER`: the JavaScript that a page loads the file by, and the file as it then is, into a folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    let [_, wasm, folder] = std::env::args().collect::<Vec<_>>().try_into().unwrap_or_default();
    if folder.is_empty() {
        eprintln!("usage: bindgen FILE.wasm FOLDER");
        return ExitCode::from(2);
    }
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    let made = bindgen.input_path(&wasm).web(true).and_then(|b| b.typescript(false).generate(&folder));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bindgen: {wasm}: {e:#}");
            ExitCode::FAILURE
        }
    }
}
