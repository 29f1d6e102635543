"""Open a folder of groups with stock readers and compare every value.

usage: read.py DIR once | read.py DIR grow STOPFILE
Prints "ok" and counts; exits 1 with the first difference.
"""
import json
import os
import sys

import numpy as np
import xarray as xr
import zarr


def numbers(n):
    return np.arange(n, dtype="f8") / 8


def frames(n):
    i = np.arange(n)
    return np.stack([i % 30000, -(i % 30000)], axis=1).astype("i2")


def check(name, got, want):
    assert got.dtype == want.dtype, (name, got.dtype, want.dtype)
    assert got.shape == want.shape, (name, got.shape, want.shape)
    if not np.array_equal(got, want, equal_nan=got.dtype.kind == "f"):
        bad = np.argwhere(got != want)[0]
        raise AssertionError(f"{name}: row {bad} of {got.shape} is {got[tuple(bad)]}, not {want[tuple(bad)]}")


def read_numbers(root):
    g = zarr.open_group(os.path.join(root, "numbers"), mode="r")
    a = g["value"][:]
    check("numbers", a, numbers(len(a)))
    own = zarr.open_array(os.path.join(root, "numbers", "value"), mode="r")
    b = own[:]
    check("numbers, the array by itself", b, numbers(len(b)))
    return len(a)


def read_wav(root):
    ds = xr.open_zarr(os.path.join(root, "wav"), chunks=None)
    a = ds.pcm.values
    assert ds.pcm.dims == ("frame", "channel"), ds.pcm.dims
    check("pcm", a, frames(len(a)))
    assert ds.attrs["sample_rate"] == 8000 and ds.pcm.attrs["channels"] == 2
    return len(a)


def read_metrics(root):
    ds = xr.open_zarr(os.path.join(root, "metrics"), chunks=None)
    n = ds.sizes["time"]
    i = np.arange(n)
    check("time", ds.time.values, np.datetime64("2023-11-14T22:13:20", "ns") + i.astype("timedelta64[s]"))
    check("cpu", ds.cpu.values, i / 4)
    if n:
        words = np.array([""] + ds.word.attrs["vocabulary"])
        check("word", words[ds.word.values].astype("U8"), np.array([f"w{k % 3}" for k in i]).astype("U8"))
    if "late" in ds:
        check("late", ds.late.values, np.where(i >= 20000, i, np.nan).astype("f8"))
    else:
        assert n <= 20000, n
    return n


def main():
    root, mode = sys.argv[1], sys.argv[2]
    readers = [read_numbers, read_wav, read_metrics]
    opens, seen = 0, []
    while True:
        last = mode == "once" or os.path.exists(sys.argv[3])
        seen = [r(root) for r in readers]
        opens += 1
        if last:
            break
    print(json.dumps({"opens": opens, "rows": seen}))


main()
