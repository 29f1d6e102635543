"""Opens groups by URL with zarr, xarray and numpy, and compares every value.

  read.py compare MANIFEST   groups at rest
  read.py grow MANIFEST      groups that grow meanwhile, until the file "stop" is there

The manifest is JSON; read_test.go writes it. Problems are printed, a line
each, and end in status 1.
"""
import json
import os
import sys
import time
import warnings

import numpy as np
import xarray as xr
import zarr

# xarray falls back with such a warning where metadata is not consolidated.
warnings.simplefilter("error", RuntimeWarning)
problems = []


def check(ok, *words):
    if not ok:
        problems.append(" ".join(str(w) for w in words))
    return ok


def difference(got, want):
    if got.shape != want.shape:
        return f"shape {got.shape}, want {want.shape}"
    bad = np.flatnonzero(~((got == want) | ((got != got) & (want != want))).ravel())
    i = bad[0]
    return f"{len(bad)} of {want.size} values differ, the first at {i}: {got.ravel()[i]!r}, want {want.ravel()[i]!r}"


def equal(got, want):
    floats = np.issubdtype(want.dtype, np.floating)
    return got.shape == want.shape and bool(np.array_equal(got, want, equal_nan=floats))


def load(spec):
    return np.fromfile(spec["file"], dtype=spec["dtype"]).reshape(spec["shape"])


def compare(base, group):
    url = f"{base}/arrays/{group['name']}"
    where = group["name"]
    g = zarr.open(url, mode="r")
    check(isinstance(g, zarr.Group), where, "is no group")
    check(g.metadata.consolidated_metadata is not None, where, "has no consolidated metadata")
    ds = xr.open_zarr(url)
    names = set(group["arrays"])
    found = set(g.array_keys())
    time_names = {"time"} if "time" in group else set()
    check(found == names | time_names, where, "has the arrays", sorted(found), "want", sorted(names | time_names))
    check(set(ds.variables) == found, where, "as a dataset has", sorted(ds.variables))
    for k, v in group.get("attributes", {}).items():
        check(g.attrs.get(k) == v, where, "attribute", k, "is", g.attrs.get(k), "want", v)
    for name, spec in group["arrays"].items():
        here = f"{where}/{name}"
        if name not in found:
            continue
        want = load(spec)
        single = zarr.open_array(f"{url}/{name}", mode="r")
        check(str(single.dtype) == spec["dtype"], here, "is", single.dtype, "want", spec["dtype"])
        for how, got in [("zarr group", g[name][...]), ("zarr array", single[...]), ("xarray", ds[name].values), ("numpy", np.asarray(single))]:
            check(equal(got, want), here, "by", how + ":", "" if equal(got, want) else difference(got, want))
        if spec.get("mean") is not None:
            check(single[...].mean() == spec["mean"], here, "mean is", single[...].mean(), "want", spec["mean"])
        n = want.shape[0]
        for a, b in [(0, 1), (n - 1, n), (n // 3, n // 3 + 1000), (-7, None)]:
            check(equal(single[a:b], want[a:b]), here, f"[{a}:{b}] differs")
        for k, v in spec.get("attributes", {}).items():
            check(single.attrs.get(k) == v, here, "attribute", k, "is", single.attrs.get(k), "want", v)
    if "time" in group:
        want = np.fromfile(group["time"], dtype="int64")
        values = ds["time"].values
        if check(np.issubdtype(values.dtype, np.datetime64), where, "time is", values.dtype, "want datetime64"):
            got = values.astype("datetime64[ns]").astype("int64")
            check(equal(got, want), where, "time:", "" if equal(got, want) else difference(got, want))
        for name in names:
            check("time" in ds[name].coords, where, name, "has no time coordinate")


def formula(kind, n):
    """What the first n rows of a growing array must be."""
    i = np.arange(n)
    return {"half": lambda: i * 0.5, "minus": lambda: -i.astype("float64"),
            "pcm2": lambda: (np.arange(2 * n) % 65536 - 32768).astype("int16").reshape(n, 2)}[kind]()


def grow(manifest):
    """Opens groups again and again: rows must be a prefix of what is sent, and never ahead of it."""
    base, seen, opens = manifest["base"], {}, 0
    while not os.path.exists(manifest["stop"]) or any(seen.get(g["name"], 0) < total(g) for g in manifest["groups"]):
        for g in manifest["groups"]:
            name, url = g["name"], f"{base}/arrays/{g['name']}"
            try:
                z, ds = zarr.open(url, mode="r"), xr.open_zarr(url)
            except FileNotFoundError:
                check(name not in seen, name, "was there and is gone")
                continue
            opens += 1
            with open(manifest["opened"], "w") as f:
                f.write(str(opens))
            lengths = {}
            for array, kind in g["arrays"].items():
                for how, got in [("zarr", z[array][...]), ("xarray", ds[array].values)]:
                    want = formula(kind, got.shape[0])
                    check(equal(got, want), name, array, "by", how, "with", got.shape[0], "rows:",
                          "" if equal(got, want) else difference(got, want))
                    lengths.setdefault(how, set()).add(got.shape[0])
            for how, n in lengths.items():
                check(len(n) == 1, name, "by", how, "has columns of different lengths", n)
            n = max(max(v) for v in lengths.values())
            if "time" in ds.variables and n:
                t = ds["time"].values.astype("datetime64[ns]").astype("int64")
                m = next(iter(lengths["xarray"]))
                want = np.arange(m) * 1_000_000 + manifest["epoch"]
                check(equal(t, want), name, "time:", "" if equal(t, want) else difference(t, want))
            check(n >= seen.get(name, 0), name, "shrank from", seen.get(name), "to", n)
            check(n <= total(g), name, "has", n, "rows,", total(g), "were sent")
            seen[name] = n
        if problems or time.time() > manifest["deadline"]:
            break
    for g in manifest["groups"]:
        check(seen.get(g["name"]) == total(g), g["name"], "ended with", seen.get(g["name"]), "rows,", total(g), "were sent")
    print(f"{opens} times opened, ended with {seen}")


def total(g):
    """Rows that were sent, or that are being sent."""
    with open(g["sent"]) as f:
        return int(f.read() or 0)


with open(sys.argv[2]) as f:
    manifest = json.load(f)
if sys.argv[1] == "grow":
    grow(manifest)
else:
    for group in manifest["groups"]:
        compare(manifest["base"], group)
for p in problems[:20]:
    print(p)
sys.exit(bool(problems))
