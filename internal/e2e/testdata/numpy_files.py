"""Opens arrays as numpy's files by URL and compares them: numpy_files.py URL."""
import io
import struct
import sys
import zlib
from urllib.request import Request, urlopen

import numpy as np

base = sys.argv[1]


def get(path, **headers):
    with urlopen(Request(base + path, headers=headers)) as answer:
        return answer.read()


def npy(path):
    return np.load(io.BytesIO(get(path + ("&" if "?" in path else "?") + "format=npy")), allow_pickle=False)


want = np.arange(100000) / 4
a = npy("numbers.whole")
assert a.dtype == np.float64 and (a == want).all(), a
assert (npy("numbers.whole?slice_index.start:records:int=-9&slice_index.step:records:int=-7") == want[-9::-7]).all()
part = get("numbers.whole", Range="bytes=8000-15999")
assert (np.frombuffer(part) == want[1000:2000]).all()

m = npy("metrics.room")
kinds = {"time": "<M8[ns]", "humidity": "<f8", "temperature": "<f8", "where": "<u4"}
assert dict(m.dtype.descr) == kinds and m.itemsize == 28, m.dtype
assert m.shape == (1000,) and m["time"][1] == np.datetime64("2023-11-14T22:13:21"), m[:2]
assert (m["humidity"] == np.arange(1000) * 2).all() and set(m["where"]) == {1, 2, 3}
two = npy("metrics.room?list_index:list=temperature&list_index:list=time&slice_index.start=10&slice_index.stop=20")
assert two.dtype.names == ("temperature", "time") and (two["temperature"] == m["temperature"][10:20]).all()

z = np.load(io.BytesIO(get("metrics.room?format=npz")))
assert sorted(z) == ["humidity", "temperature", "time", "where"] and (z["time"] == m["time"]).all()

for path in ["numbers.whole", "metrics.room", "metrics.room/where?slice_index.stop=0"] + [f"numbers.whole?slice_index.stop={n}" for n in range(8)]:
    blob = get(path + ("&" if "?" in path else "?") + "format=blob")
    assert blob[:6] == b"\x92WEN\x00\x01"
    assert struct.unpack("<I", blob[6:10])[0] == zlib.crc32(blob[10:]), path
    back = np.load(io.BytesIO(blob[10:]), allow_pickle=False)
    assert (back == npy(path)).all()
print("the same")
