"""Uses the real slapos.slap library with a master: slapos.py MASTER_URL.
The master's default computer is "local"; it is fresh."""
import os
import sys
import tempfile

import requests
import slapos.slap
from slapos.grid.watchdog import Watchdog
from slapos.util import dumps

url = sys.argv[1]
SR = "http://sr.example/software.cfg"


def raises(error, call, *args, **kw):
    try:
        call(*args, **kw)
    except error:
        return
    raise AssertionError("%s did not raise %s" % (call, error.__name__))


slap = slapos.slap.slap()
slap.initializeConnection(url)
node = slap.registerComputer("local")
order = slap.registerOpenOrder()
raises(slapos.slap.NotFoundError, order.request, SR, "root")
raises(slapos.slap.NotFoundError, slap.registerComputer("stranger").getComputerPartitionList)

node.updateConfiguration(dumps({
    "reference": "local", "address": "::1", "netmask": "::", "partition_list": [
        {"reference": "slappart%d" % i, "tap": {"name": "tap%d" % i}, "address_list": [{"addr": "::1", "netmask": "::"}]}
        for i in range(3)]}))
slap.registerSupply().supply(SR, "local")
assert [(r.getURI(), r.getState()) for r in slap.registerComputer("local").getSoftwareReleaseList()] == [(SR, "available")]

text = "a<b & \"c\" 'd' é\nline 2"
root = order.request(SR, "root", {"text": text, "n": 5, "empty": ""})
assert (root.getId(), root.getState()) == ("slappart0", "started")
mine = slap.registerComputerPartition("local", "slappart0")
parameters = mine.getInstanceParameterDict()
assert parameters["text"] == text and parameters["n"] == "5" and parameters["empty"] is None, parameters
int(parameters["timestamp"])  # as the watchdog reads it
assert mine.getType() == "default" and mine.getSoftwareRelease().getURI() == SR

child = mine.request(SR, "backend", "child", partition_parameter_kw={"size": "3"})
assert child.getId() == "slappart1"
slap.registerComputerPartition("local", "slappart1").setConnectionDict({"url": "http://[::1]/?a=1&b=<2>"})
assert mine.request(SR, "backend", "child", partition_parameter_kw={"size": "3"}).getConnectionParameter("url") == "http://[::1]/?a=1&b=<2>"
assert slap.registerComputerPartition("local", "slappart0").getInstanceParameterDict()["timestamp"] > parameters["timestamp"]
raises(slapos.slap.NotFoundError, child.getConnectionParameter, "absent")

front = order.request(SR, "front", software_type="backend", shared=True, partition_parameter_kw={"n": 1})
assert front.getId() == "slappart1"
host = slap.registerComputerPartition("local", "slappart1")
assert [s["slave_reference"] for s in host.getInstanceParameterDict()["slave_instance_list"]] == ["_front"]

mine.started()
mine.error("it broke <badly>")
mine.bang("help")
# The real watchdog reads timestamps as whole numbers: it bangs once after each
# processing, and lives.
with tempfile.TemporaryDirectory() as instances:
    os.mkdir(os.path.join(instances, "slappart0"))
    dog = Watchdog(url, "local", None, instances)

    def stamp():
        return int(slap.registerComputerPartition("local", "slappart0").getInstanceParameterDict()["timestamp"])

    stamps = [stamp()]
    for processed in (True, False, True):
        if processed:
            with open(os.path.join(instances, "slappart0", ".timestamp"), "w") as f:
                f.write(str(stamp()))
        dog.handle_event({"eventname": "PROCESS_STATE_EXITED"}, "processname:sleeper-on-watch groupname:slappart0")
        stamps.append(stamp())
    assert stamps[0] < stamps[1] == stamps[2] < stamps[3], stamps
mine.setComputerPartitionRelatedInstanceList(["child"])
mine.rename("renamed")
node.bang("all")
node.reportUsage("<?xml version='1.0'?><journal><transaction type=\"Sale Packing List\"></transaction></journal>")

raises(requests.HTTPError, order.request, SR, "large", {"text": "x" * 10000000})
raises(requests.HTTPError, order.request, SR, "renamed", state="sleeping")
raises(requests.HTTPError, order.request, SR, "a\x01b")
raises(slapos.slap.NotFoundError, order.request, SR, "x", filter_kw={"computer_guid": "stranger"})
raises(slapos.slap.NotFoundError, slap.registerComputerPartition("local", "stranger").started)

gone = order.request(SR, "never", state="destroyed")
assert gone.getState() == "destroyed"
order.request(SR, "renamed", state="destroyed")
mine.destroyed()  # waits for its child
for name in ("slappart1", "slappart0"):
    slap.registerComputerPartition("local", name).destroyed()
assert [p.getState() for p in slap.registerComputer("local").getComputerPartitionList()] == ["destroyed"] * 3

web = slapos.slap.slap()
web.initializeConnection(url)
assert web.getOpenOrderDict() == {}, web.getOpenOrderDict()
print("ok")
