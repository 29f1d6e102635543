from setuptools import setup

setup(name='weirdemo', version='1', py_modules=['weirdemo'], entry_points={'zc.buildout': [
    'template = weirdemo:Template', 'file = weirdemo:File', 'configuration = weirdemo:Configuration',
    'request = weirdemo:Request', 'publish = weirdemo:Publish']})
