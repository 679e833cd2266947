"""The roof: command line, settings, composition root, supervisor."""

__version__ = "0.1.0"
