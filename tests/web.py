"""A web server on loopback whose answers can be made wrong."""

import contextlib
import functools
import http.server
import threading
import time


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; `server.faults[path]` are the next answers for path.

    A fault is the name of a method, or a status and a dict of headers.
    """

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        faults = self.server.faults.get(self.path.partition("?")[0], [])
        fault = faults.pop(0) if faults else None
        if self.headers.get("Range"):
            self.server.ranges.append(self.headers["Range"])
        if fault is None:
            return super().do_GET()
        self.close_connection = True
        if isinstance(fault, tuple):
            return self._refuse(*fault)
        getattr(self, f"answer_{fault}")()

    def _refuse(self, status, headers):
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self):
        with open(self.translate_path(self.path), "rb") as file:
            return file.read()

    def _send(self, content, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def answer_cut(self):
        content = self._file()
        self._send(content[: len(content) // 2], len(content))

    def answer_other_bytes(self):
        content = self._file()
        self._send(content[:-1] + bytes([content[-1] ^ 1]), len(content))

    def answer_shorter(self):
        self._send(self._file()[:-1], len(self._file()) - 1)

    def answer_error(self):
        self.send_error(500)

    def answer_missing(self):
        self.send_error(404)

    def answer_redirect(self):
        self.send_response(302)
        self.send_header("Location", f"/elsewhere{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_rest(self, shift=0):
        """What is asked for by `Range`, or bytes beside it."""
        content = self._file()
        begin = int(self.headers["Range"].removeprefix("bytes=")[:-1]) + shift
        self.send_response(206)
        last, size = len(content) - 1, len(content)
        self.send_header("Content-Range", f"bytes {begin}-{last}/{size}")
        self.send_header("Content-Length", str(size - begin))
        self.end_headers()
        self.wfile.write(content[begin:])

    def answer_other_rest(self):
        self.answer_rest(shift=1)

    def answer_slow(self):
        content = self._file()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        step = len(content) // 4 + 1
        for i in range(0, len(content), step):
            self.wfile.write(content[i : i + step])
            time.sleep(0.05)

    def answer_longer(self):
        self._send(self._file() + b"0", len(self._file()) + 1)

    def answer_drip(self):
        """Half the content, then a byte now and then."""
        content = self._file()
        half = len(content) // 2
        self._send(content[:half], len(content))
        self._drip(content[half:])

    def answer_drip_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self._drip(b"0" * 1000)

    def _drip(self, content):
        with contextlib.suppress(OSError):
            for byte in content:
                if self.server.finished.wait(0.05):
                    return
                self.wfile.write(bytes([byte]))

    def answer_silent(self):
        self.server.finished.wait(10)

    def answer_endless(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.finished.is_set():
                self.wfile.write(b"0" * 2**16)
                self.server.sent += 2**16


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


@contextlib.contextmanager
def serve(folder, handler=Handler):
    """A server of a folder: `url`, `asked`, `ranges`, `faults`, `sent`."""
    server = Server(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.faults, server.sent = [], {}, 0
    server.ranges = []  # that were asked for
    server.finished = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.finished.set()
        server.shutdown()
        server.server_close()
        thread.join()
