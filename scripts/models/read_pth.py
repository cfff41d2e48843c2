"""Reads a PyTorch state dict (.pth, zip or legacy format) without torch."""
import collections
import io
import pickle
import struct
import zipfile

import numpy as np

DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "u1",
}


class Deferred:
    """A view on a storage whose bytes come later in the legacy format."""

    def __init__(self, key, dtype, offset, size, stride):
        self.key, self.dtype, self.offset, self.size, self.stride = key, dtype, offset, size, stride

    def array(self, storages):
        flat = storages[self.key]
        step = flat.itemsize
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, [s * step for s in self.stride]).copy()


class Unpickler(pickle.Unpickler):
    """Knows tensors and nothing else."""

    def find_class(self, module, name):
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, stride, *_: Deferred(storage[0], storage[1], offset, size, stride)
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        raise pickle.UnpicklingError(f"unexpected global {module}.{name}")

    def persistent_load(self, pid):
        return (pid[2], pid[1])


def load(path):
    """The arrays by their names. Only tensors are unpickled, nothing else that a file may name."""
    if zipfile.is_zipfile(path):
        z = zipfile.ZipFile(path)
        root = next(n for n in z.namelist() if n.endswith("/data.pkl"))[: -len("data.pkl")]
        state = Unpickler(io.BytesIO(z.read(root + "data.pkl"))).load()
        storages = {t.key: np.frombuffer(z.read(f"{root}data/{t.key}"), t.dtype) for t in state.values()}
    else:
        f = open(path, "rb")
        for _ in range(3):  # magic, protocol, system info
            pickle.load(f)
        state = Unpickler(f).load()
        keys = pickle.load(f)
        kinds = {t.key: t.dtype for t in state.values()}
        storages = {}
        for k in keys:
            (n,) = struct.unpack("<q", f.read(8))
            dt = np.dtype(kinds[k])
            storages[k] = np.frombuffer(f.read(n * dt.itemsize), dt)
    return {name: t.array(storages) for name, t in state.items()}
