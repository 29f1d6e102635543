"""Runs slapos.core's own tests of slapproxy against another master, over HTTP:
slapos_upstream.py [-v] [-k PATTERN] [--skip FILE] -- COMMAND...
COMMAND starts a master in the foreground; {cfg} in it becomes the path of a
slapos.cfg. Each test has a fresh master on a port of its own. Ends with
"N passed, M failed, K skipped". The tests are those of the installed wheel.
"""
import json, os, re, signal, socket, subprocess, sys, time, unittest, urllib.parse
os.environ.setdefault('SLAPOS_TEST_IPV4', '127.0.0.1')
os.environ.setdefault('SLAPOS_TEST_IPV6', '::1')
import requests

argv = sys.argv[1:]
if '--' not in argv:
    sys.exit(__doc__)
opts, command = argv[:argv.index('--')], argv[argv.index('--') + 1:]
pattern = opts[opts.index('-k') + 1] if '-k' in opts else ''
skip = {l.strip() for l in open(opts[opts.index("--skip") + 1]) if not l.startswith("#")} if "--skip" in opts else set()
verbose = '-v' in opts

import slapos.tests.test_slapproxy as T
import slapos.tests.test_slapproxy_json_rpc as J

class Reply(object):
    def __init__(self, r):
        self.status_code = self._status_code = r.status_code
        self.status = '%d %s' % (r.status_code, r.reason.upper())
        self.data, self.headers, self.text = r.content, r.headers, r.text
        self.content_type = self.mimetype = r.headers.get('Content-Type', '').split(';')[0]
    def get_data(self, as_text=False):
        return self.data.decode() if as_text else self.data
    @property
    def json(self):
        return json.loads(self.data)

class Client(object):
    """what the tests use of Flask's test client"""
    def __init__(self, base):
        self.base = base
    def open(self, method, path, data=None, query_string=None, headers=None, json=None, follow_redirects=False, **kw):
        h = dict(headers or {})
        if kw.get('content_type'):
            h['Content-Type'] = kw['content_type']
        if isinstance(data, dict):
            data = {k: v for k, v in data.items() if v is not None}
        return Reply(requests.request(method, self.base + '/' + path.lstrip('/'), params=query_string, data=data, json=json, headers=h,
                                      allow_redirects=follow_redirects, timeout=30))
    def get(self, path, **kw): return self.open('GET', path, **kw)
    def post(self, path, **kw): return self.open('POST', path, **kw)
    def put(self, path, **kw): return self.open('PUT', path, **kw)

def free_port():
    s = socket.socket(); s.bind(('127.0.0.1', 0)); p = s.getsockname()[1]; s.close(); return p

def startProxy(self):
    port = free_port()
    cfg = open(self.slapos_cfg).read()
    cfg = re.sub(r'(?m)^port = .*', 'port = %d' % port, cfg)
    cfg = re.sub(r'(?m)^host = .*', 'host = 127.0.0.1', cfg)
    open(self.slapos_cfg, 'w').write(cfg)
    self.app_config = {}
    self._master = subprocess.Popen([a.replace('{cfg}', self.slapos_cfg) for a in command], stdin=subprocess.DEVNULL,
                                    stdout=open(os.path.join(self._tempdir, 'master.log'), 'w'), stderr=subprocess.STDOUT)
    self.addCleanup(stop, self._master)
    self.app = Client('http://127.0.0.1:%d' % port)
    Shown.base = self.app.base
    for _ in range(400):
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            if self._master.poll() is not None:
                raise RuntimeError(open(os.path.join(self._tempdir, 'master.log')).read()[-500:])
            time.sleep(0.05)
    raise RuntimeError('the master did not start')

def stop(p):
    if p.poll() is None:
        p.terminate()
        try:
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill(); p.wait()

T.BasicMixin.startProxy = startProxy

def cliStartProxy(self):
    """the real client command line against the other master"""
    startProxy(self)
    cfg = open(self.slapos_cfg).read()
    cfg = re.sub(r'(?m)^(master_url|master_rest_url) = \S*?(/hateoas)?$', lambda m: '%s = %s%s' % (m.group(1), self.app.base, m.group(2) or ''), cfg)
    open(self.slapos_cfg, 'w').write(cfg)
    self.proxyaddr = self.app.base
    self.proxy_process = self._master
T.CliMasterMixin.startProxy = cliStartProxy

def startExternalProxy(self):
    """a second master, to forward to: the original as well (what is tested is the one that forwards)"""
    self.external_proxy_process = subprocess.Popen(
        [sys.executable, '-m', 'slapos.cli.entry', 'proxy', 'start', '--cfg', self.external_slapproxy_configuration_file_location],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(400):
        try:
            socket.create_connection((self.external_proxy_host, self.external_proxy_port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
T.TestMultiMasterSupport.startExternalProxy = startExternalProxy
class Shown(object):
    """stands for a connection to slapproxy's database: what weir says of itself, in the same tables"""
    def rows(self):
        show = requests.get(Shown.base + '/weir/show', timeout=30).json()
        db = sqlite3.connect(':memory:')
        schema = T.get_package_resource_bytes('slapos.proxy', 'schema.sql').decode()
        db.executescript(schema % {'version': DB_VERSION, 'computer': 'computer'})
        for p in show.get('partitions') or []:
            i = p.get('instance')
            row = {'reference': p['partition'], 'computer_reference': p['node'], 'slap_state': 'busy' if i else 'free'}
            if i:
                row.update(software_release=i['software'], software_type=i['type'], partition_reference=i['title'],
                           requested_by=i.get('root', ''), requested_state=i['state'])
            insert(db, 'partition', row)
        for f in show.get('forwarded') or []:
            insert(db, 'forwarded_partition_request', {'partition_reference': f['title'], 'master_url': f['master']})
        return db

def insert(db, table, row):
    db.execute('INSERT INTO %s%s (%s) VALUES (%s)' % (table, DB_VERSION, ','.join(row), ','.join('?' * len(row))), list(row.values()))

def executeDb(table, query, args=(), db=None, **kw):
    return original_execute(table, query, args, db=db.rows() if isinstance(db, Shown) else db, **kw)

import sqlite3
from slapos.proxy.db import DB_VERSION, execute_db as original_execute
T.slapos.proxy.views.execute_db = executeDb
T.sqlite_connect = lambda path: Shown()

# classes about the original only: the migrations of its tables
drop = ('TestMigrate', '_MigrationTestCase', 'TestLocalSoftwareReleaseRootPathMigration')
suite, ids = unittest.TestSuite(), []
def walk(s):
    for t in s:
        if isinstance(t, unittest.TestSuite):
            walk(t)
        elif not type(t).__name__.startswith(drop) and pattern in t.id() and t.id() not in ids:
            ids.append(t.id())
            if t.id() not in skip:
                suite.addTest(t)
loader = unittest.defaultTestLoader
walk(loader.loadTestsFromModule(T)); walk(loader.loadTestsFromModule(J))
result = unittest.TextTestRunner(verbosity=2 if verbose else 1, stream=sys.stderr if verbose else open(os.devnull, 'w')).run(suite)
bad = result.failures + result.errors
for t, trace in bad:
    print('FAIL', t.id(), '|', trace.strip().splitlines()[-1][:140])
print('%d passed, %d failed, %d skipped' % (result.testsRun - len(bad), len(bad), len(ids) - suite.countTestCases() + len(result.skipped)))
sys.exit(1 if bad else 0)
