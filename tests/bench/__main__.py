"""`python -m bench`: see command.py."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # Not above: processes that run the models directly import this file, and must not be as large as the benchmark.
    from bench.command import main

    sys.exit(main())
