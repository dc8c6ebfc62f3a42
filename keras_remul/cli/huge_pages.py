"""Huge pages of memory, with which JAX trains faster on a CPU."""

import os
import platform
import sys

TUNABLES = "GLIBC_TUNABLES"
HUGE_PAGES = "glibc.malloc.hugetlb=1"


def start_again():
    """Starts this process once more with huge pages, where that is of use.

    A step of JAX allocates its arrays and frees them again; on Linux a large
    part of its time goes into the pages of that memory, see
    `docs/performance.md`. The C library reads its setting only when a process
    starts. The environment variable `GLIBC_TUNABLES`, empty or not, prevents
    it. Arguments, environment and process number stay the same.
    """
    import keras

    glibc = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
    if (
        glibc
        and sys.executable
        and keras.backend.backend() == "jax"
        and TUNABLES not in os.environ
    ):
        command = [sys.executable, *sys.orig_argv[1:]]
        environment = {**os.environ, TUNABLES: HUGE_PAGES}
        os.execve(sys.executable, command, environment)
