"""Workers meet before TensorFlow starts, and compare what must be the same.

TensorFlow waits for minutes for a worker that never comes and does not say who
it is; workers with other settings train on together or die in its collectives.
So worker 0 listens first, at its own address in TF_CONFIG, and the others tell
it their settings. Nothing but JSON is read from the network.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import flags, logging
from ml_collections import config_dict

from tf_pcc import files

WAIT = flags.DEFINE_float(
  "worker_wait",
  10,
  "Minutes to wait for the other workers of TF_CONFIG.",
  lower_bound=0,
)

_TOKEN = ".workers.json"
_SECONDS_BETWEEN_LINES = 60
# Of a connection, and of a shared directory that shows a new file late.
_PATIENCE_SECONDS = 10
_LARGEST_LINE = 2**22
_PACKAGES = ("tensorflow", "keras", "numpy", "tf_pcc")


def meet(config: config_dict.ConfigDict, directory: str | os.PathLike) -> None:
  """Waits for all workers of TF_CONFIG and compares them; one has no others.

  Args:
    config: the experiment's `ConfigDict`.
    directory: the run's directory, which all share.

  Raises:
    ValueError: If fields differ, which are named with the worker, or a worker
      did not come.
  """
  addresses, index = cluster_of(os.environ.get("TF_CONFIG"))
  if len(addresses) < 2 or index is None:
    return
  facts = settings(config)
  seconds = 60 * WAIT.value
  if index:
    complaint = _visit(addresses, index, facts, directory, seconds)
  else:
    complaint = _receive(addresses, facts, directory, seconds)
  if complaint:
    raise ValueError(complaint)


def cluster_of(described: str | None) -> tuple[list[str], int | None]:
  """The addresses of the workers and this one's number.

  Args:
    described: str, TF_CONFIG, or None.

  Returns:
    list of HOST:PORT, the chief first; int, None for a task that is no worker.
  """
  found = json.loads(described or "{}")
  jobs = found.get("cluster", {})
  chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
  task = found.get("task", {})
  kind, number = task.get("type"), task.get("index", 0)
  index = {"chief": number, "worker": len(chiefs) + number}.get(kind)
  return [*chiefs, *workers], index


def settings(config: config_dict.ConfigDict) -> dict[str, Any]:
  """What must be the same on all workers.

  Args:
    config: the experiment's `ConfigDict`.

  Returns:
    dict from name to a JSON value.
  """
  facts = dict(_flat(json.loads(config.to_json_best_effort())))
  facts["python"] = platform.python_version()
  for package in _PACKAGES:
    try:
      facts[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      facts[package] = None
  contents = {"content of tokenizer.path": config.tokenizer.path}
  if config.data.kind == "records":
    for split in ("train", "validation", "test"):
      folder = config.data[split]
      path = folder and files.join(folder, "index.json")
      contents[f"content of data.{split}"] = path
  for name, path in contents.items():
    if path and tf.io.gfile.exists(path):
      with tf.io.gfile.GFile(path, "rb") as file:
        facts[name] = hashlib.sha256(file.read()).hexdigest()[:12]
  return facts


def lost_workers() -> list[str]:
  """The other workers of TF_CONFIG that do not answer any more.

  Returns:
    list of str, such as "worker 1 (HOST:PORT)".
  """
  return lost(*cluster_of(os.environ.get("TF_CONFIG")))


def lost(addresses: Sequence[str], index: int | None) -> list[str]:
  """As `lost_workers`, of these.

  Args:
    addresses: list of HOST:PORT.
    index: int, this worker's number, which is not asked.

  Returns:
    list of str, the names of workers that do not answer.
  """
  result = []
  for number, address in enumerate(addresses):
    if number == index:
      continue
    try:
      _connect(address).close()
    except OSError:
      result.append(_name(addresses, number))
  return result


def _receive(addresses, facts, directory, seconds):
  """What worker 0 does; the complaint, which all get, or None."""
  token = secrets.token_hex(8)
  files.make_folder(directory)
  files.write_json(files.join(directory, _TOKEN), {"token": token})
  facts = {**facts, "workdir": token}
  guests, told = {}, {}
  clock = _Waiting(addresses, seconds)
  with _listen(int(addresses[0].rpartition(":")[2])) as server:
    server.settimeout(0.2)
    try:
      while len(guests) < len(addresses) - 1 and not clock.over():
        clock.missing = [i for i in range(1, len(addresses)) if i not in guests]
        clock.tell()
        try:
          guest, _ = server.accept()
        except TimeoutError:
          continue
        hello = _hello(guest, token)
        number = hello.get("index")
        if number in range(1, len(addresses)) and "facts" in hello:
          guests[number], told[number] = guest, hello["facts"]
        else:
          guest.close()
      complaint = _differences(facts, told)
      if len(guests) < len(addresses) - 1:
        complaint = clock.complaint()
      for guest in guests.values():
        _send(guest, {"complaint": complaint})
      for guest in guests.values():
        # They close first: the port must be free for TensorFlow at once.
        _line(guest)
    finally:
      for guest in guests.values():
        guest.close()
  if not files.is_remote(directory):
    os.unlink(files.join(directory, _TOKEN))
  else:
    tf.io.gfile.remove(files.join(directory, _TOKEN))
  return complaint


def _visit(addresses, index, facts, directory, seconds):
  """What another worker does; worker 0's complaint or None."""
  clock = _Waiting(addresses, seconds)
  clock.missing = [0]
  while not clock.over():
    clock.tell()
    try:
      with _connect(addresses[0]) as host:
        token = _line(host).get("token")
        if token is None:
          # TensorFlow's server of a run that is going on, or is just ending.
          raise OSError("worker 0 is not waiting")
        seen = _seen(directory, token)
        workdir = token if seen else f"{directory} on {socket.gethostname()}"
        _send(host, {"index": index, "facts": {**facts, "workdir": workdir}})
        host.settimeout(max(1.0, clock.left()) + _PATIENCE_SECONDS)
        answer = _line(host)
        if "complaint" in answer:
          return answer["complaint"]
    except OSError:
      pass
    time.sleep(0.5)
  return clock.complaint()


class _Waiting:
  """Says once a minute who is missing."""

  def __init__(self, addresses, seconds):
    self._addresses, self._seconds = addresses, seconds
    self._start = time.monotonic()
    self._next = _SECONDS_BETWEEN_LINES
    self.missing = []

  def left(self):
    return self._seconds - (time.monotonic() - self._start)

  def over(self):
    return self.left() <= 0

  def tell(self):
    waited = time.monotonic() - self._start
    if waited >= self._next:
      self._next += _SECONDS_BETWEEN_LINES
      logging.info("waiting since %d s for %s", waited, self._who())

  def complaint(self):
    return (
      "all workers of TF_CONFIG must be started: look at those that are "
      "missing, or give --worker_wait more minutes. "
      f"Received: no word of {self._who()} in {self._seconds / 60:g} min"
    )

  def _who(self):
    return ", ".join(_name(self._addresses, i) for i in self.missing)


def _differences(facts, told):
  """A complaint that names each field and worker, or None."""
  found = []
  for number, theirs in sorted(told.items()):
    for name in sorted({*facts, *theirs}):
      ours, other = facts.get(name), theirs.get(name)
      if name == "workdir" and ours != other:
        found.append(f"worker {number} has another workdir, {other}")
      elif ours != other:
        found.append(f"{name} is {other!r} on worker {number}, {ours!r} here")
  if not found:
    return None
  return (
    "all workers must have the same config, --workdir, data and packages: "
    "start them with the same command. Received, by worker 0: "
    f"{'; '.join(found)}"
  )


def _seen(directory, token):
  """Whether the directory shows what worker 0 has written there."""
  end = time.monotonic() + _PATIENCE_SECONDS
  path = files.join(directory, _TOKEN)
  while True:
    try:
      if files.read_json(path) == {"token": token}:
        return True
    except (OSError, ValueError, tf.errors.OpError):
      pass
    if time.monotonic() > end:
      return False
    time.sleep(0.2)


def _hello(guest, token):
  """What a guest says of itself; {} if it is no worker of this kind."""
  try:
    guest.settimeout(2 * _PATIENCE_SECONDS)
    _send(guest, {"token": token})
    return _line(guest)
  except OSError:
    return {}


def _listen(port):
  if socket.has_dualstack_ipv6():
    return socket.create_server(
      ("", port), family=socket.AF_INET6, dualstack_ipv6=True
    )
  return socket.create_server(("", port))


def _connect(address):
  host, _, port = address.rpartition(":")
  return socket.create_connection(
    (host.strip("[]"), int(port)), timeout=_PATIENCE_SECONDS
  )


def _send(connection, value):
  try:
    connection.sendall(json.dumps(value).encode() + b"\n")
  except OSError as error:
    logging.debug("not sent: %s", error)


def _line(connection):
  """One JSON object of a connection; {} where there is none."""
  content = b""
  while not content.endswith(b"\n") and len(content) < _LARGEST_LINE:
    try:
      part = connection.recv(65536)
    except OSError:
      return {}
    if not part:
      break
    content += part
  try:
    found = json.loads(content)
  except (ValueError, RecursionError):
    return {}
  return found if isinstance(found, dict) else {}


def _flat(tree, prefix=""):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _name(addresses, number):
  return f"worker {number} ({addresses[number]})"
