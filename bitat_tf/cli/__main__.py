"""`python -m bitat_tf.cli`."""

import sys

from bitat_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
