"""Ranges of objects in Google Cloud Storage, many requests at a time.

TensorFlow's gs:// file system fetches blocks of megabytes ahead. Training reads
single utterances in random order, so nearly all of a block is never used. Here
each read is one request for the bytes of that read, and urllib3 keeps the
connections, and repeats what fails in passing.
Source: https://cloud.google.com/storage/docs/xml-api/get-object-download
"""

import functools
import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from absl import logging

from tf_pcc import extras

# Requests at a time: at 50 ms each they answer 1,280 reads a second.
PARALLEL = 64
# Answers of an overloaded or restarting service.
_PASSING = (408, 429, 500, 502, 503, 504)
# Repetitions of a request, and the pause before the second of them in seconds;
# each pause is twice the one before: 25 s in all.
_RETRIES = 6
_PAUSE = 0.4
_TIMEOUT = 60.0
_ADVICE = {
  401: "log in: gcloud auth application-default login",
  403: "give the account of this machine the role Storage Object Viewer",
  404: "check its name",
}


def reader(path: str) -> Callable[[int, int], bytes] | None:
  """A function that reads ranges of an object.

  Args:
    path: gs://BUCKET/OBJECT.

  Returns:
    Function (offset, size) -> bytes, fewer than `size` where the object ends
    before. Several threads may call it; it raises an OSError that names the
    object. None without google-auth (the extra gcs).
  """
  if not _installed():
    return None
  url = f"{_host()}/{urllib.parse.quote(path.removeprefix('gs://'))}"
  return functools.partial(_read, path, url)


def _read(path, url, offset, size):
  import urllib3

  headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
  try:
    response = _http().request("GET", url, headers=headers)
  except urllib3.exceptions.HTTPError as error:
    reason = getattr(error, "reason", None) or error
    raise OSError(
      f"{path} cannot be read: {_RETRIES + 1} requests failed in a row; check "
      f"the network and run the same command again. Received: {reason}"
    ) from error
  if response.status == 206:
    return response.data
  if response.status == 200:
    # A server that knows no ranges.
    return response.data[offset : offset + size]
  if response.status == 416:
    return b""
  advice = _ADVICE.get(response.status, "run the same command again")
  raise OSError(
    f"{path} cannot be read: {advice}. Received: {response.status} "
    f"{response.reason}"
  )


def _host():
  """Google's own, or a stand-in, by the variable that Google's clients read."""
  host = os.environ.get("STORAGE_EMULATOR_HOST")
  if not host:
    return "https://storage.googleapis.com"
  return host if "://" in host else f"http://{host}"


@functools.cache
def _installed():
  try:
    extras.load("google.auth.transport.urllib3", "Reading gs://", "gcs")
  except ImportError as error:
    logging.warning("reading through TensorFlow, which is slow: %s", error)
    return False
  return True


@functools.cache
def _http() -> Any:
  import google.auth.exceptions
  import urllib3
  from google.auth.transport import urllib3 as transport

  settings = {
    "maxsize": PARALLEL,
    "block": True,
    "timeout": _TIMEOUT,
    "retries": urllib3.Retry(
      total=_RETRIES,
      backoff_factor=_PAUSE,
      status_forcelist=_PASSING,
      redirect=False,
    ),
    # The variables that TensorFlow's own gs:// heeds.
    "ca_certs": os.environ.get("CURL_CA_BUNDLE") or None,
  }
  address = urllib.parse.urlsplit(_host())
  proxy = urllib.request.getproxies().get(address.scheme)
  if proxy and not urllib.request.proxy_bypass(address.hostname or ""):
    pool = urllib3.ProxyManager(proxy, **settings)
  else:
    pool = urllib3.PoolManager(**settings)
  if os.environ.get("STORAGE_EMULATOR_HOST"):
    return pool
  try:
    credentials, _ = google.auth.default(
      scopes=["https://www.googleapis.com/auth/devstorage.read_only"]
    )
  except google.auth.exceptions.DefaultCredentialsError:
    # Public buckets need none; others answer 401.
    return pool
  return transport.AuthorizedHttp(credentials, http=pool)
