"""`python -m foundry.migrate`."""

import sys

from foundry.migrate.cli import main

sys.exit(main())
