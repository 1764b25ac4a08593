"""`python -m exporter.demo`."""

import sys

from exporter.demo.command import main

sys.exit(main())
