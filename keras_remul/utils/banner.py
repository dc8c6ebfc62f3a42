"""What TensorFlow says on the screen when it is imported.

Which instructions of the CPU it uses, and that there is no GPU: of TensorFlow
2.21 no setting hides that (its issue 100442), since it is written before any is
read. So the standard error is kept aside meanwhile, and all else of it is
written afterwards. That a GPU cannot be used is left out only where there is
none; TensorFlow says it once, when it first looks for devices.
"""

import contextlib
import importlib
import os
import pathlib
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
_NO_GPU = b"failed call to cuInit"
_DEVICES = pathlib.Path("/dev")


def import_keras():
    """Imports Keras on TensorFlow, and has that look for devices."""
    with hidden():
        importlib.import_module("keras")
        importlib.import_module("tensorflow").config.list_physical_devices()


def has_gpu():
    """Whether there is a GPU of NVIDIA, usable or not; on WSL, perhaps."""
    files = (*_DEVICES.glob("nvidia[0-9]*"), *_DEVICES.glob("dxg"))
    return len(files) > 0


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
            screen.writelines(line for line in file if not _is_noise(line))


def _is_noise(line):
    if _NO_GPU in line:
        return not has_gpu()
    return _BANNER.search(line)


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()
