// Has Tint, the WGSL compiler of Chromium, read every shader that `tests/shaders.rs` left in a folder, and Dawn make a
// pipeline of it. Dawn's null backend needs no driver, and checks what a browser would: that barriers are in uniform
// control flow, and that a shader keeps to the limits and features that it may ask for.
//
//   node check.mjs FOLDER
//
// A sub-folder is named after the features that its shaders need, or `core`; those that WebGPU does not know begin
// with `native-`, and Tint cannot read what uses them.
import { create, globals } from 'webgpu';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

Object.assign(globalThis, globals);
// As long as somebody holds it, node does not end; and without it there is no device.
let gpu = create(['backend=null']);

// What Tint and Dawn have against a shader on a device with these features and WebGPU's default limits.
async function refusal(device, code) {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const error = await device.popErrorScope();
    const errors = messages.filter((m) => m.type === 'error');
    if (errors.length > 0) {
        const line = (m) => code.split('\n')[m.lineNum - 1]?.trim() ?? '';
        return errors.map((m) => `${m.message}\n        ${line(m)}`).join('\n    ');
    }
    if (error) return error.message;
    try {
        await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
        return null;
    } catch (e) {
        return `no pipeline: ${e.message.split('\n')[0]}`;
    }
}

async function deviceWith(features) {
    const adapter = await gpu.requestAdapter();
    return adapter.requestDevice({ requiredFeatures: features });
}

// A check that refuses nothing would pass everything.
const DIVERGENT = `
var<workgroup> shared_word: u32;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    if local < 32u { shared_word = local; workgroupBarrier(); }
    out[local] = shared_word;
}`;

async function main(folder) {
    if (!/uniform control flow/.test((await refusal(await deviceWith([]), DIVERGENT)) ?? '')) {
        throw new Error('a barrier under a condition was not refused: is this still Tint?');
    }
    let [checked, refused] = [0, 0];
    // Files by what is wrong with them: many variants share a line.
    const wrong = new Map();
    for (const needs of readdirSync(folder).sort()) {
        const features = needs === 'core' ? [] : needs.split('+');
        const files = readdirSync(join(folder, needs), { recursive: true }).filter((f) => f.endsWith('.wgsl')).sort();
        const native = features.filter((f) => f.startsWith('native-'));
        if (native.length > 0) {
            console.log(`${needs}: ${files.length} left out, since WebGPU has no ${native.join(', ')}`);
            continue;
        }
        const device = await deviceWith(features);
        // naga enables subgroups by a feature of the device, and has no word for it.
        const enable = features.includes('subgroups') ? 'enable subgroups; ' : '';
        for (const file of files) {
            const why = await refusal(device, enable + readFileSync(join(folder, needs, file), 'utf8'));
            if (why) {
                refused += 1;
                wrong.set(why, [...(wrong.get(why) ?? []), join(needs, file)]);
            }
        }
        console.log(`${needs}: ${files.length} read by Tint`);
        checked += files.length;
        device.destroy();
    }
    for (const [why, files] of wrong) {
        const rest = files.length > 5 ? ['...'] : [];
        console.log(`${files.length} refused: ${why}\n    ${[...files.slice(0, 5), ...rest].join('\n    ')}`);
    }
    if (checked === 0) throw new Error(`no shaders in ${folder}`);
    console.log(`Tint: ${checked - refused} passed, ${refused} refused`);
    return refused === 0 ? 0 : 1;
}

const folder = process.argv[2];
if (!folder) {
    console.error('usage: node check.mjs FOLDER');
    process.exit(2);
}
process.exitCode = await main(folder);
gpu = null;
delete globalThis.navigator;
