"""`python -m polardenoise.engine`: the same command line as `polardenoise`."""

import sys

from polardenoise.engine.cli import main

sys.exit(main())
