"""An executor as SlipStream's, with kazoo's LockingQueue, for the mix of engines.

    kazoo_executor.py HOSTS URL TRACE THREADS

It takes a job, sets it RUNNING, works for a while, sets it SUCCESS and consumes
its entry. While it works it writes lines to TRACE, as the action "work" of the
other executors does: "UPTIME ID ATTEMPT PID tick" and "… done". It ends its work
when ZooKeeper is away for long: another may have the job then.

Calls of kazoo's wait without a bound for what a lost connection may have lost.
So a minute after SIGTERM it says where each thread is, and ends with status 1.
"""

import faulthandler
import os
import signal
import sys
import threading
import time

import requests
from kazoo.client import KazooClient, KazooRetry, KazooState

SESSION = 10.0

hosts, url, trace, threads = sys.argv[1], sys.argv[2] + "/api/", sys.argv[3], int(sys.argv[4])
stop = threading.Event()


def end(*_):
    faulthandler.dump_traceback_later(60, exit=True)
    stop.set()


signal.signal(signal.SIGTERM, end)
away = [None]  # since when the connection is lost


def state(s):
    away[0] = None if s == KazooState.CONNECTED else time.monotonic() - (SESSION if s == KazooState.LOST else 0)


client = KazooClient(hosts, timeout=SESSION, connection_retry=KazooRetry(max_tries=-1), command_retry=KazooRetry(max_tries=-1))
client.add_listener(state)
client.start()


class GivenUp(Exception):
    pass


def held():
    since = away[0]
    if since is not None and time.monotonic() - since > SESSION / 2:
        raise GivenUp("ZooKeeper is away")


def note(job, attempt, what):
    with open("/proc/uptime") as f:
        at = f.read().split()[0]
    with open(trace, "a") as f:
        f.write("%s %s %s %d %s\n" % (at, job, attempt, os.getpid(), what))


def edit(job, change):
    r = requests.put(url + job, json=change, timeout=10)
    r.raise_for_status()
    return r.json()


def run(job):
    r = requests.get(url + job, timeout=10)
    if r.status_code == 404:
        return
    r.raise_for_status()
    if r.json()["state"] in ("SUCCESS", "FAILED"):
        return
    attempt = edit(job, {"state": "RUNNING"})["attempt"]
    for i in range(4):
        held()
        note(job, attempt, "tick")
        time.sleep(0.1)
    held()
    note(job, attempt, "done")
    edit(job, {"state": "SUCCESS", "statusMessage": "by kazoo"})


def work():
    while not stop.is_set():
        queue = client.LockingQueue("/job")
        try:
            while not stop.is_set():
                value = queue.get(timeout=2)
                if value is None:
                    continue
                held()
                try:
                    run(value.decode())
                except requests.RequestException:
                    queue.release()
                    time.sleep(1)
                    continue
                queue.consume()
        except Exception as e:
            print("a worker begins anew:", repr(e), file=sys.stderr, flush=True)
            time.sleep(1)


all_threads = [threading.Thread(target=work) for _ in range(threads)]
for t in all_threads:
    t.start()
for t in all_threads:
    t.join()
client.stop()
