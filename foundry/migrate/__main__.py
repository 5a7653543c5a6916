"""`python -m foundry.migrate`."""

import sys

try:
    from foundry.migrate.cli import main

    sys.exit(main())
except KeyboardInterrupt:  # while the modules were read: nothing had begun
    sys.exit(130)
