"""Leads the election "shared", and consumes the queue by kazoo's LockingQueue
with two workers until its standard input ends.   kazoo_peer.py HOSTS LOG"""

import sys
import threading
import time

from kazoo.client import KazooClient

client = KazooClient(sys.argv[1], timeout=20)
client.start()
log = open(sys.argv[2], "a", buffering=1)
stop = threading.Event()


def lead():
    log.write("leads\n")
    stop.wait()


def consume():
    queue = client.LockingQueue("/job")
    while not stop.is_set():
        value = queue.get(timeout=0.5)
        if value is None:
            continue
        log.write("took %s\n" % queue.processing_element[0])
        time.sleep(0.02)
        if not queue.consume():
            log.write("not consumed\n")


leader = threading.Thread(target=lambda: client.Election("/election/shared", "python").run(lead))
workers = [threading.Thread(target=consume) for _ in range(2)]
for t in workers + [leader]:
    t.start()
sys.stdin.read()
stop.set()
for t in workers + [leader]:
    t.join()
client.stop()
log.write("ended\n")
