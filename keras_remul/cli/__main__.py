"""`python -m keras_remul.cli`."""

import sys

from keras_remul.cli import main

if __name__ == "__main__":
    sys.exit(main())
