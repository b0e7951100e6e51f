"""``python -m datalab``."""

import sys

from datalab.cli import main

sys.exit(main())
