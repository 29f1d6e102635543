# Runs Python promises of one partition, each in a process of its own. The
# orders come as JSON on standard input; what becomes of them goes out as lines
# of JSON on descriptor 3. Works with Python 2.7 and 3.
import ast
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
out = 3
order = json.loads(sys.stdin.read())


def tell(fd, **what):
    os.write(fd, (json.dumps(what) + '\n').encode('utf-8'))


def search_path(path):
    # The first assignment of a promise says where the software's eggs are.
    with open(path) as f:
        tree = ast.parse(f.read())
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
            value = target.value if isinstance(target, ast.Subscript) else None
            if isinstance(value, ast.Attribute) and value.attr == 'path':
                return ast.literal_eval(statement.value)
            break
    return []


class Queue(object):
    def __init__(self):
        self.items = []

    def put_nowait(self, item):
        self.items.append(item)

    def put(self, item, *args, **kw):
        self.items.append(item)


def load(name, config, library):
    generic, interface = library
    title = os.path.splitext(name)[0]
    module = importlib.import_module(title)
    run = getattr(module, 'RunPromise', None)
    if run is None:
        raise AttributeError('Class RunPromise not found in promise %s' % name)
    if not interface.IPromise.implementedBy(run):
        raise RuntimeError('RunPromise class in %s must implement IPromise' % name)
    if not issubclass(run, generic.GenericPromise):
        raise RuntimeError('RunPromise class is not a subclass of GenericPromise class.')
    extra = getattr(module, 'extra_config_dict', {})
    if not isinstance(extra, dict):
        raise ValueError('Extra parameter is not a dict')
    for key in extra:
        if key in config:
            raise ValueError('Extra parameter name %r cannot be used.' % key)
    config.update(extra)
    return run(config)


def promise(fd, name, library):
    config = dict((k, v) for k, v in order['config'].items() if v is not None)
    queue = Queue()
    config.update({'name': name, 'path': os.path.join(order['folder'], name), 'queue': queue})
    instance = load(name, config, library)
    tell(fd, name=name, event='made', periodicity=instance.getPeriodicity(),
         tested=getattr(instance, 'isTested', lambda: True)(),
         anomaly=getattr(instance, 'isAnomalyDetected', lambda: True)())
    bangs = []
    # The agent bangs, once a run; here is only told that the promise would.
    instance._GenericPromise__bang = bangs.append
    instance.run(order['anomaly'], order['anomaly'])
    item = queue.items[-1].item
    if item.type() == 'Empty Result':
        tell(fd, name=name, event='empty')
        return
    message = item.message
    if message is not None and not isinstance(message, type(u'')):
        message = message.decode('utf-8', 'replace') if isinstance(message, bytes) else str(message)
    tell(fd, name=name, event='result', failed=bool(item.hasFailed()), message=message,
         kind=item.type(), date=item.date.strftime('%Y-%m-%dT%H:%M:%S+0000'), bang=bangs[0] if bangs else '')


def child(fd, name, library):
    code = 0
    try:
        os.setsid()
        promise(fd, name, library)
    except BaseException:
        code = 1
        sys.stderr.write(traceback.format_exc())
        kind, error = sys.exc_info()[:2]
        tell(fd, name=name, event='broken', message='%s: %s' % (kind.__name__, error))
    finally:
        os._exit(code)


def end(pid, grace):
    for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(pid, number)
        except OSError:
            pass
        until = time.time() + wait
        while time.time() < until:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.01)


def main():
    os.chdir(order['partition'])
    sys.path[0:0] = search_path(os.path.join(order['folder'], order['promises'][0]))
    from slapos.grid.promise import generic, interface
    try:
        from slapos.version import version
        order['config']['slapgrid-version'] = version
    except ImportError:
        pass
    sys.path[0:0] = [order['folder']]
    waiting, running = list(order['promises']), {}
    while waiting or running:
        while waiting and len(running) < order['parallel']:
            name = waiting.pop(0)
            r, w = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(r)
                child(w, name, (generic, interface))
            os.close(w)
            now = time.time()
            running[r] = [name, pid, now, now + order['timeout'], b'']
        soon = min(job[3] for job in running.values())
        ready = select.select(list(running), [], [], max(0, soon - time.time()))[0]
        for r in list(running):
            job = running[r]
            name, pid, start, until = job[:4]
            if r in ready:
                part = os.read(r, 65536)
                job[4] += part
                if part and len(job[4]) < 1 << 20:
                    continue
            elif time.time() < until:
                continue
            else:
                tell(out, name=name, event='timeout')
            end(pid, 1.0)
            for line in job[4].splitlines(True):
                if line.endswith(b'\n'):
                    os.write(out, line)
            tell(out, name=name, event='end', seconds=time.time() - start)
            os.close(r)
            del running[r]


main()
