"""``python -m annals``."""

from annals import collector

with collector.imports():
    from annals.cli import main

if __name__ == "__main__":
    main()
