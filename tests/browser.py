"""Chromium without a window, by its own protocol over two pipes.

Nothing needs to be installed besides Chromium: it reads JSON from its file
descriptor 3 and writes to 4, each message ended by a zero byte.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root may not have one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--no-first-run",
    "--mute-audio",
)
_SHELL = 'exec "$@" 3<&"$READS" 4>&"$WRITES"'


def program():
    """The path of Chromium; None where it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """A page of Chromium: opens addresses, runs JavaScript, takes pictures."""

    def __init__(self, reads, writes):
        self._reads, self._writes = reads, writes
        self._session, self._last = None, 0
        self.events = []  # what happened since the last `open`
        target = self._call("Target.createTarget", url="about:blank")
        self._session = self._call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _read(self):
        message = bytearray()
        while (byte := self._reads.read(1)) != b"\0":
            if not byte:
                raise EOFError("Chromium has ended.")
            message += byte
        return json.loads(message)

    def _call(self, method, **params):
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._writes.write(json.dumps(message).encode() + b"\0")
        self._writes.flush()
        while (answer := self._read()).get("id") != self._last:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def of(self, method):
        """What the events of one kind say, since the last `open`."""
        return [e["params"] for e in self.events if e.get("method") == method]

    def complaints(self):
        """Errors and warnings in the console."""
        said = self.of("Runtime.consoleAPICalled")
        return [
            *self.of("Runtime.exceptionThrown"),
            *self.of("Log.entryAdded"),
            *(e for e in said if e["type"] in ("error", "warning")),
        ]

    def answers(self):
        """`{address: HTTP status}` of all that the page asked for."""
        answers = [e["response"] for e in self.of("Network.responseReceived")]
        failed = self.of("Network.loadingFailed")
        return {answer["url"]: answer["status"] for answer in answers} | {
            f"{event['type']} {event['errorText']}": 599
            for event in failed
            if not event.get("canceled")
        }

    def size(self, width, height=900):
        """Sets the size of the window in pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, address):
        """Opens an address, and waits until all of it is loaded."""
        self.events = []
        self._call("Page.navigate", url=address)
        while not self.of("Page.loadEventFired"):
            self.events.append(self._read())

    def run(self, script):
        """The value of JavaScript; a promise is awaited."""
        found = self._call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def picture(self, path):
        """Writes all of the page into a PNG file."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def chromium(folder):
    """A `Tab` of a Chromium that ends with the block.

    Args:
        folder: where it keeps what it stores.
    """
    in_reads, in_writes = os.pipe()
    out_reads, out_writes = os.pipe()
    process = subprocess.Popen(
        ["bash", "-c", _SHELL, "bash", program(), *_OPTIONS]
        + [f"--user-data-dir={folder}"],
        env={**os.environ, "READS": str(in_reads), "WRITES": str(out_writes)},
        pass_fds=(in_reads, out_writes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(in_reads)
    os.close(out_writes)
    try:
        with open(out_reads, "rb") as reads, open(in_writes, "wb") as writes:
            yield Tab(reads, writes)
    finally:
        process.terminate()
        process.wait()
