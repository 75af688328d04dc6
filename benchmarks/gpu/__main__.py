"""`python -m blurvote.benchmarks.gpu`."""

from __future__ import annotations

import sys

from blurvote.benchmarks.gpu.session import main

sys.exit(main())
