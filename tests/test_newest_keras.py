"""The check with the newest Keras: what it says, and that it never fails."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Stand for pip, with a version or without one, and for the tests.
PYTHON = """#!/bin/sh
case "$*" in
*--report*) [ -z "$NEWEST" ] || echo "$NEWEST" ;;
*--target*) echo "installed $*" ;;
-c*) read version && echo "$version" || exit 1 ;;
esac
"""
MAKE = """#!/bin/sh
echo "made $* with $PYTHONPATH"
exit "$STATUS"
"""


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "newest, status, said",
    [
        ("3.15.1", 1, "Keras 3.15.1, which constraints.txt names, is the newe"),
        ("3.16.0", 0, "The quick tests pass with Keras 3.16.0"),
        ("3.16.0", 1, "WARNING: tests fail with Keras 3.16.0"),
        ("", 0, "WARNING: the registry does not tell"),
    ],
)
def test_newest_keras(newest, status, said, tmp_path):
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(ROOT / ".ci/newest-keras", tmp_path / ".ci")
    (tmp_path / "constraints.txt").write_text("jax==1\nkeras==3.15.1\n")
    for name, text in (("python", PYTHON), ("make", MAKE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [script, tmp_path / "python"],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "NEWEST": newest,
            "STATUS": str(status),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    *before, last = done.stdout.splitlines()
    assert last.startswith(said)
    if newest == "3.16.0":
        assert "keras==3.16.0" in before[0]
        folder = tmp_path / ".venv/newest-keras"
        assert f"TESTS=@tests/fast.txt with {folder}" in before[1]
    else:
        assert not before
