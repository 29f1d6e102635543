"""Uses the job collection as SlipStream's job engine does, by its own client library."""

import sys
from slipstream.api import Api

url = sys.argv[1]


def refused(call, what):
    try:
        call()
    except Exception as e:
        if what not in str(e):
            raise
        return
    raise SystemExit("not refused: " + what)


nobody = Api(url)
assert nobody.current_session() is None
refused(lambda: nobody.cimi_search("jobs"), "log in")
assert nobody.login_internal("super", "wrong").status_code == 403

api = Api(url, reauthenticate=True, login_creds={"username": "super", "password": "secret"})
assert api.login_internal("super", "secret").status_code == 201
assert api.username == "super", api.username
added = api.cimi_add("jobs", {"action": "collect", "targetResource": {"href": "connector/x"}, "priority": 50})
assert added.json["status"] == 201, added.json
job_id = added.json["resource-id"]
job = api.cimi_get(job_id)
assert job.json["state"] == "QUEUED" and job.json["priority"] == 50, job.json
found = api.cimi_search("jobs", filter='action="collect" and state="QUEUED"', last=0)
assert found.count == 1, found.json
edited = api.cimi_edit(job_id, {"state": "RUNNING"})
assert edited.json["state"] == "RUNNING", edited.json
api.cimi_edit(job_id, {"progress": 50, "statusMessage": "half way \u2713"})
listed = api.cimi_search("jobs", orderby="created:desc", select="state,progress", first=1, last=10)
assert listed.json["jobs"][0]["progress"] == 50 and "action" not in listed.json["jobs"][0], listed.json
stopped = api.cimi_operation(job_id, "http://schemas.dmtf.org/cimi/2/action/stop")
assert stopped.json["state"] == "STOPPED", stopped.json
ended = api.cimi_edit(job_id, {"state": "SUCCESS", "returnCode": 10000})
assert ended.json["state"] == "SUCCESS" and ended.json["progress"] == 100, ended.json
refused(lambda: api.cimi_edit(job_id, {"state": "RUNNING"}), "conflict")
refused(lambda: api.cimi_add("jobs", {"action": "a", "colour": "red"}), "colour")

# A cookie that the server does not know any more: the client logs in again.
api.session.cookies.clear()
assert api.cimi_get(job_id).json["state"] == "SUCCESS"

alice = Api(url)
alice.session.cookies.clear()
assert alice.login_internal("alice", "wonder").status_code == 201
assert alice.cimi_search("jobs").count == 0
refused(lambda: alice.cimi_get(job_id), "may not see")
refused(lambda: alice.cimi_add("jobs", {"action": "a"}), "add")
alice.logout()

api.session.cookies.clear()
api.login_internal("super", "secret")
assert api.cimi_delete(job_id).json["status"] == 200
refused(lambda: api.cimi_get(job_id), "not found")
