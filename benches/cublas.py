"""Square products by cuBLAS, as rows of a Markdown table: usage: cublas.py 1024 2048 4096

Finds libcublas and libcudart where the loader does, or where pip's nvidia packages (PyTorch's, say) put them; needs
nothing else. f32 in f32, without TF32; f16 with sums in f32, on matrix units; int8 with sums in i32. Sampled results are
compared with sums in Python. Exits with 3 and a line that says why where there is no cuBLAS, no GPU, or no kernel.
"""

import ctypes as c
import glob
import random
import struct
import sys
import sysconfig

R_32F, R_16F, R_8I, R_32I = 0, 2, 3, 10  # cudaDataType_t
COMPUTE_32F, COMPUTE_32F_PEDANTIC, COMPUTE_32I = 68, 69, 72  # cublasComputeType_t
N, T = 0, 1  # cublasOperation_t
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
ROUNDS = 20


class Missing(Exception):
    pass


def library(name):
    folders = {sysconfig.get_paths()[k] for k in ("purelib", "platlib")} | set(sys.path)
    places = [f"lib{name}.so", *(f"lib{name}.so.{v}" for v in (13, 12, 11))]
    for folder in folders:
        places += glob.glob(f"{folder}/nvidia/*/lib/lib{name}.so*")
    places += glob.glob(f"/usr/local/cuda*/lib64/lib{name}.so*")
    for place in places:
        try:
            return c.CDLL(place)
        except OSError:
            pass
    raise Missing(f"lib{name}.so was not found")


def ok(status, what):
    if status != 0:
        raise Missing(f"{what} failed with status {status}")


def pattern(kind, count, seed):
    """Numbers for a matrix, a prime number of them over and over, as they are and as bytes."""
    rng = random.Random(seed)
    if kind == "f32":
        few = struct.unpack("<10007f", struct.pack("<10007f", *(rng.uniform(-1, 1) for _ in range(10007))))
        some = struct.pack("<10007f", *few)
    elif kind == "f16":
        few = struct.unpack("<10007e", struct.pack("<10007e", *(rng.uniform(-1, 1) for _ in range(10007))))
        some = struct.pack("<10007e", *few)
    else:
        few = [rng.randint(-128, 127) for _ in range(10007)]
        some = struct.pack("<10007b", *few)
    size = len(some) // 10007 * count
    return few, (some * (size // len(some) + 1))[:size]


def main(sizes):
    cudart, cublas = library("cudart"), library("cublas")
    devices = c.c_int()
    ok(cudart.cudaGetDeviceCount(c.byref(devices)), "cudaGetDeviceCount")
    if devices.value == 0:
        raise Missing("there is no CUDA device")
    handle = c.c_void_p()
    ok(cublas.cublasCreate_v2(c.byref(handle)), "cublasCreate")
    events = [c.c_void_p(), c.c_void_p()]
    for event in events:
        ok(cudart.cudaEventCreate(c.byref(event)), "cudaEventCreate")

    def allocate(size):
        pointer = c.c_void_p()
        ok(cudart.cudaMalloc(c.byref(pointer), c.c_size_t(size)), "cudaMalloc")
        return pointer

    print("| n | elements | ms | GFLOP/s |\n| ---: | --- | ---: | ---: |")
    for n in sizes:
        for kind in ("f32", "f16", "int8"):
            (a, a_bytes), (b, b_bytes) = pattern(kind, n * n, 1), pattern(kind, n * n, 2)
            whole = kind == "int8"
            element, out, compute = {
                "f32": (R_32F, R_32F, COMPUTE_32F_PEDANTIC),
                "f16": (R_16F, R_32F, COMPUTE_32F),
                "int8": (R_8I, R_32I, COMPUTE_32I),
            }[kind]
            x, y, z = allocate(len(a_bytes)), allocate(len(b_bytes)), allocate(4 * n * n)
            ok(cudart.cudaMemcpy(x, a_bytes, c.c_size_t(len(a_bytes)), HOST_TO_DEVICE), "cudaMemcpy")
            ok(cudart.cudaMemcpy(y, b_bytes, c.c_size_t(len(b_bytes)), HOST_TO_DEVICE), "cudaMemcpy")
            one, zero = (c.c_int(1), c.c_int(0)) if whole else (c.c_float(1), c.c_float(0))

            # Columns first: rows of a by rows of b, as Linear layers have them. z[j * n + i] = a[i, :] . b[j, :].
            def multiply():
                ok(
                    cublas.cublasGemmEx(
                        handle, T, N, n, n, n, c.byref(one), x, element, n, y, element, n,
                        c.byref(zero), z, out, n, compute, -1,
                    ),
                    f"cublasGemmEx of {kind}",
                )

            multiply()
            ok(cudart.cudaDeviceSynchronize(), "cudaDeviceSynchronize")
            best = float("inf")
            for _ in range(ROUNDS):
                ok(cudart.cudaEventRecord(events[0], None), "cudaEventRecord")
                multiply()
                ok(cudart.cudaEventRecord(events[1], None), "cudaEventRecord")
                ok(cudart.cudaEventSynchronize(events[1]), "cudaEventSynchronize")
                ms = c.c_float()
                ok(cudart.cudaEventElapsedTime(c.byref(ms), events[0], events[1]), "cudaEventElapsedTime")
                best = min(best, ms.value)
            got = (c.c_char * (4 * n * n))()
            ok(cudart.cudaMemcpy(got, z, c.c_size_t(4 * n * n), DEVICE_TO_HOST), "cudaMemcpy")
            rng = random.Random(3)
            for _ in range(16):
                i, j = rng.randrange(n), rng.randrange(n)
                terms = [a[(i * n + k) % 10007] * b[(j * n + k) % 10007] for k in range(n)]
                found = struct.unpack_from("<i" if whole else "<f", got, 4 * (j * n + i))[0]
                bound = 0 if whole else (n + 2) * 2.0**-23 * sum(map(abs, terms))
                if abs(found - sum(terms)) > bound:
                    sys.exit(f"cuBLAS, {kind}, {n}: [{i}, {j}] is {found}, not {sum(terms)} +- {bound}")
            for pointer in (x, y, z):
                cudart.cudaFree(pointer)
            print(f"| {n} | {kind} | {best:.3f} | {2 * n**3 / best / 1e6:.1f} |", flush=True)


try:
    main([int(n) for n in sys.argv[1:]])
except Missing as e:
    print(f"cuBLAS was left out: {e}.")
    sys.exit(3)
