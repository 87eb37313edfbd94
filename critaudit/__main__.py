"""`python -m critaudit`: the same as the `critaudit` command."""

import sys

if not sys.flags.safe_path and sys.path:
    # `python -m` puts the current folder first on the path: a file named numpy.py there must not be imported.
    del sys.path[0]

from critaudit.cli import main

if __name__ == "__main__":
    main()
