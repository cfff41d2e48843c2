"""Inputs for the networks as arrays, and what ONNX Runtime makes of them.  usage: make_inputs.py FOLDER

minilm/: {calibration,test}_{ids,mask}.npy [n, 32] int64, test_embedding.npy [n, 384] f32
effnet/: {calibration,test}_crops.npy [n, 3, 224, 224] uint8, {bn,folded}_logits.npy [n, 1000] f32,
test_labels.npy [n] int64
"""

import glob
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

TOKENS, CALIBRATION, TESTS = 32, 128, 160
SIDE = 224


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def outputs(path, inputs, batch):
    """The model's first output for all rows, in batches."""
    run, rows = session(path), len(next(iter(inputs.values())))
    parts = []
    for i in range(0, rows, batch):
        parts.append(run.run(None, {name: x[i : i + batch] for name, x in inputs.items()})[0])
    return np.concatenate(parts)


def sentences(folder):
    """Snippets drawn from the whole file, none of them twice."""
    with open(os.path.join(folder, "snippets.txt"), encoding="utf-8", errors="replace") as file:
        snippets = [line.rstrip("\n").split("\t", 1)[1] for line in file if "\t" in line]
    drawn = np.random.default_rng(0).permutation(len(snippets))[: CALIBRATION + TESTS]
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    tokens = tokenizer.encode_batch([snippets[i] for i in drawn])
    ids, mask = (np.array(x, np.int64) for x in ([t.ids for t in tokens], [t.attention_mask for t in tokens]))
    for name, part in (("calibration", slice(0, CALIBRATION)), ("test", slice(CALIBRATION, None))):
        np.save(os.path.join(folder, f"{name}_ids.npy"), ids[part])
        np.save(os.path.join(folder, f"{name}_mask.npy"), mask[part])
    test = {"input_ids": ids[CALIBRATION:], "attention_mask": mask[CALIBRATION:]}
    np.save(os.path.join(folder, "test_embedding.npy"), outputs(os.path.join(folder, "minilm_fp32.onnx"), test, 16))


def crops(image, short, places):
    """Squares of an image whose shorter side is made `short`: `places` are fractions from its left and top."""
    scale = short / min(image.size)
    image = image.resize([round(n * scale) for n in image.size], Image.Resampling.BICUBIC)
    for x, y in places:
        left, top = (round((n - SIDE) * at) for n, at in zip(image.size, (x, y)))
        yield np.asarray(image.crop((left, top, left + SIDE, top + SIDE))).transpose(2, 0, 1)


def images(folder, effnet):
    corners = [(0.5, 0.5), (0, 0), (1, 0), (0, 1), (1, 1)]
    calibration, test, labels = [], [], []
    for path in sorted(glob.glob(os.path.join(folder, "*.jpg"))):
        image = Image.open(path).convert("RGB")
        mirrored = ImageOps.mirror(image)
        # The usual ten crops; the calibration's are of another size and from between them.
        test += [*crops(image, 256, corners), *crops(mirrored, 256, corners)]
        labels += [int(path.rsplit("_", 1)[1].removesuffix(".jpg"))] * (2 * len(corners))
        calibration += [*crops(image, 288, [(0.5, 0.25), (0.25, 0.75)]), *crops(mirrored, 320, [(0.5, 0.6)])]
    # Any first few of the crops are of all images.
    order = np.arange(len(test)).reshape(-1, 2 * len(corners)).T.ravel()
    test, labels = np.stack(test)[order], np.array(labels, np.int64)[order]
    np.save(os.path.join(effnet, "calibration_crops.npy"), np.stack(calibration))
    np.save(os.path.join(effnet, "test_crops.npy"), test)
    np.save(os.path.join(effnet, "test_labels.npy"), labels)
    inputs = {"input": (test.astype(np.float32) - 127) / 128}
    for name in ("bn", "folded"):
        logits = outputs(os.path.join(effnet, f"efflite0_{name}.onnx"), inputs, 8)
        np.save(os.path.join(effnet, f"{name}_logits.npy"), logits)
    print(f"EfficientNet-Lite0: {np.mean(logits.argmax(1) == labels):.1%} of {len(labels)} crops right")


if __name__ == "__main__":
    root = sys.argv[1]
    sentences(os.path.join(root, "minilm"))
    images(os.path.join(root, "images"), os.path.join(root, "effnet"))
