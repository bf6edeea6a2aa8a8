"""The command line's door: `embertune` and `python -m embertune`."""

from __future__ import annotations

import sys

from embertune.cli import main

if __name__ == "__main__":
    sys.exit(main())
