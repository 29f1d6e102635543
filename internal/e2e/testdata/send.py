"""Sends records with fluent-logger-python in all its modes.

  send.py HOST PORT

Prints what was sent as JSON: a list of [tag, seconds, nanoseconds, record].
A record's bytes are given as {"$hex": ...}.
"""
import json
import sys
import threading

from fluent import asyncsender, event, sender

HOST, PORT = sys.argv[1], int(sys.argv[2])
NOW = 1700000000
sent = []


def note(tag, sec, nsec, record):
    hexed = {k: {"$hex": v.hex()} if isinstance(v, bytes) else v for k, v in record.items()}
    sent.append([tag, sec, nsec, hexed])


RECORDS = [
    {"message": "hello", "n": 1, "neg": -7, "f": 1.5, "ok": True, "none": None},
    {"message": "Grüße, 世界", "list": [1, "two"], "map": {"a": {"b": "c"}}},
    {"bin": b"\xff\x00\x80", "big": 2**64 - 1},
]


def plain():
    s = sender.FluentSender("py.plain", host=HOST, port=PORT)
    for i, r in enumerate(RECORDS):
        assert s.emit_with_time("a", NOW + i, r), s.last_error
        note("py.plain.a", NOW + i, 0, r)
    s.close()


def nano():
    s = sender.FluentSender("py.nano", host=HOST, port=PORT, nanosecond_precision=True)
    for i, r in enumerate(RECORDS):
        at = sender.EventTime(NOW + i + 0.25)
        assert s.emit_with_time(None, at, r), s.last_error
        note("py.nano", NOW + i, 250000000, r)
    s.close()


def floats():
    s = sender.FluentSender("py.float", host=HOST, port=PORT)
    for i, r in enumerate(RECORDS):
        assert s.emit_with_time("x", NOW + i + 0.5, r), s.last_error
        note("py.float.x", NOW + i, 500000000, r)
    s.close()


def async_many():
    """Many records from several threads through one asynchronous sender."""
    s = asyncsender.FluentSender("py.async", host=HOST, port=PORT, queue_maxsize=0)
    lock = threading.Lock()

    def work(k):
        for i in range(200):
            with lock:
                r = {"worker": k, "i": i}
                s.emit_with_time("many", NOW + i, r)
                note("py.async.many", NOW + i, 0, r)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    s.close()


def global_sender():
    sender.setup("py.event", host=HOST, port=PORT)
    event.Event("follow", {"from": "A", "to": "B"}, time=NOW)
    note("py.event.follow", NOW, 0, {"from": "A", "to": "B"})
    sender.close()


plain()
nano()
floats()
async_many()
global_sender()
json.dump(sent, sys.stdout)
