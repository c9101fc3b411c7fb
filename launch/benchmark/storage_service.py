"""A stand-in of Google Cloud Storage on this machine: slow, and able to fail.

It serves the files of a folder as the objects of one bucket to
`tf_pcc.data.storage`, which finds it by the variable STORAGE_EMULATOR_HOST.

Source: https://cloud.google.com/storage/docs/xml-api/get-object-download
"""

import contextlib
import http.server
import multiprocessing
import os
import pathlib
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator

# What a fault function answers to a request for (object, attempt from 0): a
# status, "cut" for half a body, or None to serve it.
Fault = Callable[[str, int], int | str | None]


def make_server(
  folder: str | os.PathLike, latency: float = 0.0, fault: Fault | None = None
) -> http.server.ThreadingHTTPServer:
  """A server on a free port of the loopback interface, not yet started.

  Args:
    folder: Its files are the objects of every bucket.
    latency: Seconds before each answer.
    fault: Default: none.

  Returns:
    The server; its attribute `requests` lists (object, attempt) as they come.
  """
  folder = pathlib.Path(folder)
  attempts = {}
  requests = []

  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the small header waits for the acknowledgement of the one before.
    disable_nagle_algorithm = True

    def do_GET(self):
      time.sleep(latency)
      path = urllib.parse.urlparse(self.path).path
      name = urllib.parse.unquote(path).split("/", 2)[2]
      key = name, self.headers["Range"]
      attempt = attempts[key] = attempts.get(key, -1) + 1
      requests.append((name, attempt))
      trouble = fault(name, attempt) if fault else None
      if isinstance(trouble, int):
        self._answer(trouble, b"")
      elif not (folder / name).is_file():
        self._answer(404, b"")
      else:
        self._answer_range(folder / name, cut=trouble == "cut")

    def _answer_range(self, path, cut):
      size = path.stat().st_size
      [wanted] = re.findall(r"^bytes=(\d+)-(\d+)$", self.headers["Range"])
      first, last = map(int, wanted)
      if first >= size:
        self._answer(416, b"")
        return
      with open(path, "rb") as file:
        file.seek(first)
        data = file.read(last - first + 1)
      self._answer(206, data, len(data) // 2 if cut else None)

    def _answer(self, status, data, sent=None):
      self.send_response(status)
      self.send_header("Content-Length", str(len(data)))
      self.end_headers()
      self.wfile.write(data[:sent])
      self.close_connection = sent is not None

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  server.daemon_threads = True
  server.requests = requests  # pyright: ignore[reportAttributeAccessIssue]
  return server


@contextlib.contextmanager
def serving(
  folder: str | os.PathLike, latency: float = 0.0, fault: Fault | None = None
) -> Iterator[http.server.ThreadingHTTPServer]:
  """Runs a server in a thread, for the time of the context.

  Args:
    folder: as of `make_server`.
    latency: seconds that each request waits. Default 0.
    fault: as of `make_server`. Default None.

  Yields:
    The server.
  """
  server = make_server(folder, latency, fault)
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield server
  finally:
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def serving_elsewhere(
  folder: str | os.PathLike, latency: float
) -> Iterator[str]:
  """Runs a server in a process of its own.

  Args:
    folder: As of `make_server`.
    latency: Seconds before each answer.

  Yields:
    What STORAGE_EMULATOR_HOST must be.
  """
  context = multiprocessing.get_context("spawn")
  ours, theirs = context.Pipe()
  process = context.Process(
    target=_serve, args=(folder, latency, theirs), daemon=True
  )
  process.start()
  try:
    yield f"http://127.0.0.1:{ours.recv()}"
  finally:
    process.terminate()
    process.join()


def _serve(folder, latency, pipe):
  server = make_server(folder, latency)
  pipe.send(server.server_port)
  server.serve_forever()
