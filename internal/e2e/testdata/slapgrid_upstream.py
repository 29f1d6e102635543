"""Runs slapos.core's own tests of slapgrid with another program in its place.

   slapgrid_upstream.py [-v] [-k PATTERN] [--part K/N] [--skip FILE] -- PROGRAM

PROGRAM is asked as slapos is: PROGRAM node instance --cfg FILE, and so on. The
handlers by which the tests answer requests in process answer on a real port.
FILE lists tests that cannot hold, one a line, with the reason behind a #.
What the tests expect of files of supervisord itself is taken out of listings.
"""
import http.server, os, re, signal, subprocess, sys, threading, time, unittest, urllib.parse

os.environ.setdefault('SLAPOS_TEST_IPV4', '127.0.0.1')
os.environ.setdefault('SLAPOS_TEST_IPV6', '::1')
argv = sys.argv[1:]
if '--' not in argv:
    sys.exit(__doc__)
opts, program = argv[:argv.index('--')], argv[argv.index('--') + 1:]
pattern = opts[opts.index('-k') + 1] if '-k' in opts else ''
part, parts = map(int, opts[opts.index('--part') + 1].split('/')) if '--part' in opts else (0, 1)
verbose = '-v' in opts
skip = set()
if '--skip' in opts:
    for line in open(opts[opts.index('--skip') + 1]):
        if line.split('#')[0].strip():
            skip.add(line.split('#')[0].strip())

import httmock
import requests
import slapos.grid.slapgrid as slapgrid
import slapos.slap
import slapos.tests.test_slapgrid as T

active = []
lock = threading.Lock()
enter, leave = httmock.HTTMock.__enter__, httmock.HTTMock.__exit__


def __enter__(self):
    active.append(self.handlers)
    return enter(self)


def __exit__(self, *a):
    active.pop()
    return leave(self, *a)


httmock.HTTMock.__enter__, httmock.HTTMock.__exit__ = __enter__, __exit__


def answer(method, path, headers, body, cache=None):
    """what the innermost mock says: status and content; one Slapgrid asks for the computer once"""
    if cache is not None and path.startswith('/getFullComputerInformation'):
        if path not in cache:
            cache[path] = answer(method, path, headers, body)
        return cache[path]
    request = requests.Request(method, 'http://127.0.0.1' + path, headers=headers, data=body or None).prepare()
    request.body = body
    with lock:
        for handler in active[-1] if active else ():
            r = handler(urllib.parse.urlsplit(request.url), request)
            if r is None:
                continue
            if isinstance(r, dict):
                content = r.get('content', '')
                return r.get('status_code', 200), content.encode() if isinstance(content, str) else content
            if isinstance(r, (str, bytes)):
                return 200, r.encode() if isinstance(r, str) else r
            return r.status_code, r.content
    return 500, b''


class Handler(http.server.BaseHTTPRequestHandler):
    cache = None

    def do(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode()
        try:
            status, content = answer(self.command, self.path, dict(self.headers), body or None, self.cache)
        except Exception as e:
            status, content = 500, repr(e).encode()
        content = content or b''
        self.send_response(status)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    do_GET = do_POST = do

    def log_message(self, *a):
        pass


class Grid(object):
    """Slapgrid, by a command"""

    def __init__(self, software_root, instance_root, master_url, computer_id, buildout, force_periodicity=False, maximum_periodicity=86400,
                 key_file=None, cert_file=None, develop=False, force_stop=False, shared_part_list='', build_time_part_list='',
                 certificate_repository_path=None, promise_timeout=20, software_release_filter_list=None,
                 computer_partition_filter_list=None, partition_timeout=None, **kw):
        self.o = dict(software_root=software_root, instance_root=instance_root, computer_id=computer_id,
                      certificate_repository_path=certificate_repository_path, shared_part_list=shared_part_list,
                      build_time_part_list=build_time_part_list, maximum_periodicity=maximum_periodicity, promise_timeout=promise_timeout,
                      key_file=key_file, cert_file=cert_file, partition_timeout=partition_timeout)
        self.master_url, self.develop, self.force_stop = master_url, develop, force_stop
        self._manager_list, self.watchdog_path, self.logger = [], None, kw.get('logger')
        self.only = computer_partition_filter_list
        self.maximum_periodicity, self.computer_id, self.partition_timeout = maximum_periodicity, computer_id, partition_timeout
        self.cache = {}
        if active:
            answer('GET', '/getHateoasUrl', {}, None)  # as the library does at this moment

    def run(self, what, *flags):
        server = None
        url = self.master_url
        if active:
            cache = self.cache if what == 'instance' else None
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), type('CachedHandler', (Handler,), {'cache': cache}))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = 'http://127.0.0.1:%d/' % server.server_port
        cfg = os.path.join(os.path.dirname(self.o['instance_root']), 'slapos.cfg')
        with open(cfg, 'w') as f:
            f.write('[slapos]\nmaster_url = %s\nsoftware_min_free_space = 1K\ninstance_min_free_space = 1K\n' % url)
            for k, v in dict(self.o, maximum_periodicity=self.maximum_periodicity, partition_timeout=self.partition_timeout).items():
                if v not in (None, ''):
                    f.write('%s = %s\n' % (k, v))
            # one after the other, and Python promises where the test's buildout is a shell script
            f.write('[weir]\nparallel = 1\nlog_size = 50M\npython = %s\n' % sys.executable)
        if self.only:
            flags += ('--only-cp', ','.join(self.only))
        try:
            p = subprocess.run(program + ['node', what, '--cfg', cfg, '--now'] + list(flags), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        finally:
            if server:
                server.shutdown()
                server.server_close()
        output = p.stdout.decode(errors='replace')
        if verbose:
            sys.stderr.write(output)
        self.tell(p.returncode, what, output)
        return p.returncode

    def tell(self, code, what, output):
        """What Slapgrid raises in process, and the list of errors that it logs at the end."""
        if code == 1 and 'is no directory' in output:
            raise OSError(output)
        if code == 3 and what == 'promise':
            raise slapos.slap.ConnectionError(output)
        records, begun = [], False
        for line in output.splitlines():
            begun = begun or line.startswith('Error w')
            if begun and (line.startswith('Error w') or re.match(r'  \S+\[', line)):
                records.append(line)
            elif begun:
                records[-1] += '\n' + line
        for record in records:
            self.logger.info('%s', record)

    def processComputerPartitionList(self):
        return self.run('instance', *(['--force'] if self.develop else []) + (['--force-stop'] if self.force_stop else []))

    def processSoftwareReleaseList(self, garbage_collection=False):
        return self.run('software', *(['--force'] if self.develop else []) + (['--garbage-collect'] if garbage_collection else []))

    def agregateAndSendUsage(self):
        return self.run('report')

    def processPromiseList(self):
        return self.run('promise')


def supervisors(below):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            words = open('/proc/%s/cmdline' % pid).read().split('\0')
        except (OSError, UnicodeDecodeError):
            continue
        if 'supervisor' in words and any(w.startswith(below) for w in words):
            yield int(pid)


def tearDown(self):
    for pid in supervisors(self._tempdir):
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError:
            pass
    end = time.time() + 15
    while list(supervisors(self._tempdir)) and time.time() < end:
        time.sleep(0.02)
    T.shutil.rmtree(self._tempdir, True)


def listing(self, instance_list):
    found = set(os.listdir(self.instance_root)) - {'sv.sock'}
    self.assertEqual(found, set(instance_list) | {'etc', 'var'})


def count_equal(self, found, wanted, msg=None):
    """as six's, without a file that node report leaves behind by accident"""
    return self.assertCountEqual(found, [w for w in wanted if w != '.slapos-request-transaction-0'], msg)


T.six.assertCountEqual = count_equal
slapgrid.Slapgrid = Grid
set_up = T.BasicMixin.setUp


def setUp(self):
    set_up(self)
    self.addCleanup(tearDown, self)  # some classes have a tearDown that leaves the mixin's out


T.BasicMixin.setUp, T.BasicMixin.tearDown = setUp, tearDown
T.BasicMixin.assertInstanceDirectoryListEqual = listing

suite, ids, known = unittest.TestSuite(), [], set()


def walk(s):
    for t in s:
        if isinstance(t, unittest.TestSuite):
            walk(t)
        elif t.id() not in known:
            name = t.id().split('test_slapgrid.')[-1]
            known.add(t.id())
            if pattern in name and len(known) % parts == part:
                ids.append(name)
                if name not in skip:
                    suite.addTest(t)


walk(unittest.defaultTestLoader.loadTestsFromModule(T))
result = unittest.TextTestRunner(verbosity=2 if verbose else 1, stream=sys.stderr if verbose else open(os.devnull, 'w')).run(suite)
bad = result.failures + result.errors
for t, trace in bad:
    print('FAIL', t.id().split('test_slapgrid.')[-1], '|', trace.strip().splitlines()[-1][:200])
print('%d passed, %d failed, %d skipped' % (result.testsRun - len(bad) - len(result.skipped), len(bad), len(ids) - suite.countTestCases() + len(result.skipped)))
sys.exit(1 if bad else 0)
