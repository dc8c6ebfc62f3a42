"""What TensorFlow says on the screen when it is imported.

Which instructions of the CPU it uses, and that there is no GPU: of TensorFlow
2.21 no setting hides that (its issue 100442), since it is written before any is
read. So the standard error is kept aside meanwhile, and all else of it is
written afterwards.
"""

import contextlib
import os
import re
import sys
import tempfile

VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
_ERRORS = 2  # the number of the standard error
_BANNER = re.compile(
    rb"(port|cudart_stub|cpu_feature_guard)\.cc:\d+\]"
    rb"|^To enable the following instructions: "
    rb"|^WARNING: All log messages before absl::InitializeLog"
)


@contextlib.contextmanager
def hidden():
    """Leaves these lines out, unless the user sets TF_CPP_MIN_LOG_LEVEL=0."""
    with contextlib.ExitStack() as stack:
        if os.environ.get(VARIABLE) != "0":
            # Programs without a screen may have none.
            with contextlib.suppress(OSError):
                stack.enter_context(_aside(os.dup(_ERRORS)))
        yield


@contextlib.contextmanager
def _aside(screen):
    with open(screen, "wb") as screen, tempfile.TemporaryFile() as file:
        _flush()
        os.dup2(file.fileno(), _ERRORS)
        try:
            yield
        finally:
            _flush()
            os.dup2(screen.fileno(), _ERRORS)
            file.seek(0)
            screen.writelines(line for line in file if not _BANNER.search(line))


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()
