"""`python -m libhetero`: the command `libhetero`, where it is not on the path."""

import sys

from libhetero.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
