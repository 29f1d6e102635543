"""Lets slapos.core run on Python before 3.12.

It gives plain modules to importlib.resources.files, which older Pythons
refuse; the command line then loses its node and proxy commands without a word.
"""
import sys

if sys.version_info < (3, 12):
    import importlib.resources

    real = importlib.resources.files

    def files(package):
        module = sys.modules.get(package) if isinstance(package, str) else None
        if module is not None and not hasattr(module, "__path__"):
            package = package.rpartition(".")[0]
        return real(package)

    importlib.resources.files = files
