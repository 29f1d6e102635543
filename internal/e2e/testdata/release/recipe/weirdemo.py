"""Recipes of a small software release: files, parameters with defaults,
requests of other instances, connection parameters."""
import os

import slapos.slap


class Once(object):
    """does its work in install, and again at each update"""

    def __init__(self, buildout, name, options):
        self.buildout, self.name, self.options = buildout, name, options
        self.prepare()

    def prepare(self):
        pass

    def install(self):
        return ()

    def update(self):
        return self.install()


class Template(Once):
    """copies a file of the release and fills in where the software is"""

    def install(self):
        b = self.buildout['buildout']
        with open(self.options['source']) as f:
            text = f.read()
        for name in ('eggs-directory', 'develop-eggs-directory', 'executable'):
            text = text.replace('@%s@' % name, b[name])
        with open(self.options['output'], 'w') as f:
            f.write(text.replace('@release@', os.path.dirname(self.options['source'])))
        return ()


class File(Once):
    """writes a file, executable if mode says so; the folder is made"""

    def prepare(self):
        self.text = self.options['text'].strip() + '\n'

    def install(self):
        path = self.options['output']
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(self.text)
        os.chmod(path, int(self.options.get('mode', '600'), 8))
        return path


class Slap(Once):
    def prepare(self):
        c = self.buildout['slap-connection']
        slap = slapos.slap.slap()
        slap.initializeConnection(c['server-url'], c.get('key-file') or None, c.get('cert-file') or None)
        self.partition = slap.registerComputerPartition(c['computer-id'], c['partition-id'])
        self.ask()

    def ask(self):
        pass


class Configuration(Slap):
    """configuration.NAME is the parameter, or the default that the section
    has, if the parameter is missing or empty"""

    def ask(self):
        for k, v in self.partition.getInstanceParameterDict().items():
            if isinstance(v, str) and v:
                self.options['configuration.' + k] = v


class Request(Slap):
    """asks for an instance; connection-NAME is what it published"""

    def ask(self):
        o = self.options
        child = self.partition.request(
            software_release=o['software-url'], software_type=o['software-type'], partition_reference=o['name'],
            partition_parameter_kw={k[7:]: o[k] for k in o if k.startswith('config-')})
        for name in o.get('return', '').split():
            try:
                o['connection-' + name] = child.getConnectionParameter(name)
            except (slapos.slap.NotFoundError, slapos.slap.ResourceNotReady):
                o['connection-' + name] = ''


class Publish(Slap):
    def install(self):
        self.partition.setConnectionDict({k: self.options[k] for k in self.options if k != 'recipe'})
        return ()
