"""A stand-in of Google Cloud Storage on this machine: buckets in memory.

TensorFlow's gs:// file system has the addresses of the service built in. It
asks a proxy for them, though, if https_proxy names one, and trusts the
authority of CURL_CA_BUNDLE: this server is both. `Server.environment` are the
variables that a process needs.
"""

import contextlib
import datetime
import http.server
import json
import pathlib
import re
import ssl
import threading
import urllib.parse

import trustme

HOSTS = ("www.googleapis.com", "storage.googleapis.com")


class Handler(http.server.BaseHTTPRequestHandler):
  """The part of the JSON API that TensorFlow uses, behind CONNECT."""

  protocol_version = "HTTP/1.1"

  def log_message(self, *args):
    """Nothing is printed."""

  def do_CONNECT(self):
    """Opens a tunnel whose other end is this handler."""
    if self.path.partition(":")[0] not in HOSTS:
      return self._answer(502)
    self.send_response(200)
    self.end_headers()
    self.connection = self.server.tls.wrap_socket(
      self.connection, server_side=True
    )
    self.rfile = self.connection.makefile("rb")
    self.wfile = self.connection.makefile("wb", 0)
    self.close_connection = False

  def do_GET(self):
    """An object's bytes, its metadata, a listing or a bucket."""
    path, query = self._parsed()
    objects = self.server.objects
    if found := re.fullmatch(r"/storage/v1/b/([^/]+)", path):
      return self._json({"name": found[1], "location": "HERE"})
    if re.fullmatch(r"/storage/v1/b/[^/]+/storageLayout", path):
      return self._json({"hierarchicalNamespace": {"enabled": False}})
    if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
      return self._json(self._listing(found[1], query))
    if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", path):
      name = f"{found[1]}/{urllib.parse.unquote(found[2])}"
      if name not in objects:
        return self._answer(404)
      return self._json(self._metadata(name))
    name = urllib.parse.unquote(path).lstrip("/")
    if name not in objects:
      return self._answer(404)
    data = objects[name][0]
    start, end = re.fullmatch(
      r"bytes=(\d+)-(\d+)", self.headers.get("Range", f"bytes=0-{len(data)}")
    ).groups()
    if data and int(start) >= len(data):
      return self._answer(416)
    return self._answer(206, data[int(start) : int(end) + 1])

  def do_POST(self):
    """Uploads a small object, begins a large upload, or copies an object."""
    path, query = self._parsed()
    data = self._body()
    if query.get("uploadType") == "media":
      bucket = re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path)[1]
      self.server.put(f"{bucket}/{query['name']}", data)
      return self._json(self._metadata(f"{bucket}/{query['name']}"))
    if found := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
      place = f"https://{HOSTS[0]}{path}?{urllib.parse.urlencode(query)}"
      return self._answer(200, headers={"Location": place})
    found = re.fullmatch(
      r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)", path
    )
    source, target = (
      f"{found[i]}/{urllib.parse.unquote(found[i + 1])}" for i in (1, 3)
    )
    if source not in self.server.objects:
      return self._answer(404)
    self.server.put(target, self.server.objects[source][0])
    return self._json({"done": True})

  def do_PUT(self):
    """Ends an upload."""
    path, query = self._parsed()
    bucket = re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path)[1]
    self.server.put(f"{bucket}/{query['name']}", self._body())
    return self._json(self._metadata(f"{bucket}/{query['name']}"))

  def do_DELETE(self):
    """Deletes an object."""
    found = re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", self._parsed()[0])
    name = f"{found[1]}/{urllib.parse.unquote(found[2])}"
    gone = self.server.objects.pop(name, None) is None
    return self._answer(404 if gone else 204)

  def _parsed(self):
    url = urllib.parse.urlsplit(self.path)
    return url.path, dict(urllib.parse.parse_qsl(url.query))

  def _body(self):
    # TensorFlow states a length and sends chunks: the chunks are what counts.
    if self.headers.get("Transfer-Encoding") != "chunked":
      return self.rfile.read(int(self.headers.get("Content-Length", 0)))
    chunks = []
    while size := int(self.rfile.readline(), 16):
      chunks.append(self.rfile.read(size))
      self.rfile.readline()
    self.rfile.readline()
    return b"".join(chunks)

  def _metadata(self, name):
    data, generation = self.server.objects[name]
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
      "name": name.partition("/")[2],
      "size": str(len(data)),
      "generation": str(generation),
      "updated": now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }

  def _listing(self, bucket, query):
    """Names under a prefix; with a delimiter folders are prefixes of names."""
    prefix, names, folders = query.get("prefix", ""), [], []
    for name in sorted(self.server.objects):
      holder, _, name = name.partition("/")
      if holder != bucket or not name.startswith(prefix):
        continue
      head, found, _ = name[len(prefix) :].partition("/")
      if found and query.get("delimiter"):
        folders.append(f"{prefix}{head}/")
      else:
        names.append({"name": name})
    most = int(query.get("maxResults", 1000))
    answer = {"items": names[:most], "prefixes": sorted(set(folders))}
    return {key: value for key, value in answer.items() if value}

  def _json(self, value):
    self._answer(200, json.dumps(value).encode())

  def _answer(self, code, data=b"", headers=()):
    self.send_response(code)
    for key, value in dict(headers).items():
      self.send_header(key, value)
    self.send_header("Content-Length", str(len(data)))
    self.end_headers()
    self.wfile.write(data)


class Server(http.server.ThreadingHTTPServer):
  """Holds the objects: name with its bucket -> (bytes, generation)."""

  daemon_threads = True

  def __init__(self, folder, handler=Handler):
    super().__init__(("127.0.0.1", 0), handler)
    self.objects = {}
    authority = trustme.CA()
    self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(self.tls)
    self.authority = pathlib.Path(folder) / "authority.pem"
    authority.cert_pem.write_to_path(str(self.authority))

  def put(self, name, data):
    """Stores an object."""
    self.objects[name] = (data, self.objects.get(name, (b"", 0))[1] + 1)

  def environment(self):
    """Variables for a process whose gs:// is this server."""
    return {
      "https_proxy": f"http://127.0.0.1:{self.server_address[1]}",
      "CURL_CA_BUNDLE": str(self.authority),
      "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
      "NO_GCE_CHECK": "true",
      # One attempt more, and no wait.
      "GCS_RETRY_CONFIG_MAX_RETRIES": "1",
      "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "1000",
    }


@contextlib.contextmanager
def serving(folder, handler=Handler):
  """A server in a thread of this process; `folder` gets its authority."""
  with Server(folder, handler) as server:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
