"""Workers that meet: who is missing, and what differs on whom."""

import concurrent.futures
import json
import os
import socket
import threading

import pytest
from absl import flags

from launch.runs import cluster, rendezvous
from tests.workers import free_ports

FACTS = {"seed": 0, "clipping.bound": 2.5, "tensorflow": "2"}


@pytest.fixture
def addresses():
  return [f"127.0.0.1:{port}" for port in free_ports(3)]


def _meet(addresses, directory, facts=None, directories=None, seconds=30):
  """What the three workers get; `facts` and `directories` by number."""
  facts, directories = facts or {}, directories or {}

  def do(number):
    mine = {**FACTS, **facts.get(number, {})}
    where = str(directories.get(number, directory))
    if number:
      return rendezvous._visit(addresses, number, mine, where, seconds)
    return rendezvous._receive(addresses, mine, where, seconds)

  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    # Worker 0 is late.
    futures = [pool.submit(do, number) for number in (2, 1, 0)]
    return [future.result() for future in reversed(futures)]


def test_equal_workers_go_on_and_leave_the_port(addresses, tmp_path):
  directory = tmp_path / "new" / "run"
  assert _meet(addresses, directory) == [None] * 3
  assert os.listdir(directory) == []
  # TensorFlow listens there next.
  port = int(addresses[0].rpartition(":")[2])
  socket.create_server(("127.0.0.1", port)).close()


def test_every_worker_is_told_what_differs_on_whom(addresses, tmp_path):
  facts = {1: {"seed": 4}, 2: {"clipping.bound": 7.0, "tensorflow": "3"}}
  found = _meet(addresses, tmp_path, facts)
  assert len(set(found)) == 1
  for words in (
    "seed is 4 on worker 1, 0 here",
    "clipping.bound is 7.0 on worker 2, 2.5 here",
    "tensorflow is '3' on worker 2",
  ):
    assert words in found[0]


def test_a_field_that_one_lacks_differs(addresses, tmp_path):
  found = _meet(addresses, tmp_path, {1: {"content of data.test": "abc"}})
  assert "content of data.test is 'abc' on worker 1, None here" in found[0]


def test_a_workdir_of_its_own(addresses, tmp_path, monkeypatch):
  monkeypatch.setattr(rendezvous, "_PATIENCE_SECONDS", 1)
  other = tmp_path / "other"
  found = _meet(addresses, tmp_path / "run", directories={2: other})
  assert len(set(found)) == 1
  assert f"worker 2 has another workdir, {other} on " in found[0]
  assert "worker 1" not in found[0]


def test_who_did_not_come_is_named(addresses, tmp_path):
  found = rendezvous._receive(addresses, FACTS, str(tmp_path), 0.5)
  assert f"worker 1 ({addresses[1]}), worker 2 ({addresses[2]})" in found
  assert "--worker_wait" in found
  found = rendezvous._visit(addresses, 1, FACTS, str(tmp_path), 0.5)
  assert f"no word of worker 0 ({addresses[0]})" in found


def test_a_line_says_who_is_missing(addresses, monkeypatch):
  lines = []
  monkeypatch.setattr(
    rendezvous.logging, "info", lambda text, *v: lines.append(text % v)
  )
  monkeypatch.setattr(rendezvous, "_SECONDS_BETWEEN_LINES", 0)
  clock = rendezvous._Waiting(addresses, 9)
  clock.missing = [2]
  clock.tell()
  assert lines == [f"waiting since 0 s for worker 2 ({addresses[2]})"]


@pytest.mark.parametrize(
  "words", [b"", b"GET / HTTP/1.1\r\n\r\n\n", b"[]\n", b'{"index": 9}\n']
)
def test_strangers_at_the_door_are_sent_away(addresses, tmp_path, words):
  def knock():
    for _ in range(100):
      try:
        with rendezvous._connect(addresses[0]) as connection:
          connection.sendall(words)
          connection.shutdown(socket.SHUT_WR)
          connection.recv(100)
          return
      except OSError:
        threading.Event().wait(0.05)

  stranger = threading.Thread(target=knock)
  stranger.start()
  found = rendezvous._receive(addresses, FACTS, str(tmp_path), 2)
  stranger.join()
  assert "no word of worker 1" in found


def test_another_server_is_no_worker_0(addresses, tmp_path):
  with socket.create_server(
    ("127.0.0.1", int(addresses[0].rpartition(":")[2]))
  ) as server:

    def serve():
      while True:
        try:
          connection, _ = server.accept()
        except OSError:
          return
        connection.sendall(b"\0\0\x12\4\0\0\0\0\0\n")
        connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    found = rendezvous._visit(addresses, 1, FACTS, str(tmp_path), 1.5)
    assert "no word of worker 0" in found
    # It answers, so it is not lost; nobody listens at the third's address.
    assert rendezvous.lost(addresses, 1) == [f"worker 2 ({addresses[2]})"]
    server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
  ("described", "expected"),
  [
    (None, ([], None)),
    ("{}", ([], None)),
    (
      {
        "cluster": {"worker": ["a:1", "b:2"]},
        "task": {"type": "worker", "index": 1},
      },
      (["a:1", "b:2"], 1),
    ),
    (
      {
        "cluster": {"chief": ["c:3"], "worker": ["a:1"]},
        "task": {"type": "worker", "index": 0},
      },
      (["c:3", "a:1"], 1),
    ),
    (
      {
        "cluster": {"worker": ["a:1"], "evaluator": ["e:1"]},
        "task": {"type": "evaluator", "index": 0},
      },
      (["a:1"], None),
    ),
  ],
)
def test_tf_config(described, expected):
  if isinstance(described, dict):
    described = json.dumps(described)
  assert rendezvous.cluster_of(described) == expected


_TWO = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize(
  ("described", "complaint"),
  [
    ("{", "property name"),
    ("[" * 99999, "recursion depth"),
    ("5", "must be an object|must be"),
    ({"cluster": 5}, "cluster must be"),
    ({"cluster": {"worker": [1, 2]}}, "worker.*must be a string"),
    ({"cluster": _TWO, "task": {"type": "worker", "index": "x"}}, "index must"),
    ({"cluster": _TWO, "task": {"type": "worker", "index": 2}}, "of index 2"),
    ({"cluster": _TWO, "task": {"type": "worker", "index": -1}}, "of index -1"),
    ({"cluster": _TWO, "task": {"type": "chief"}}, "has 0 of type 'chief'"),
    ({"cluster": {"worker": ["a:1", "a:1"]}}, "two workers have one address"),
    ({"cluster": {"worker": ["a", "b:2"]}}, "a is no HOST:PORT"),
    ({"cluster": {"worker": ["a:99999", "b:2"]}}, "a:99999 is no HOST:PORT"),
  ],
)
def test_a_tf_config_that_nobody_could_wait_for(
  monkeypatch, described, complaint
):
  if isinstance(described, dict):
    described = json.dumps(described)
  monkeypatch.setenv("TF_CONFIG", described)
  with pytest.raises(ValueError, match=f"TF_CONFIG must be.*{complaint}") as e:
    cluster.count_workers()
  assert len(str(e.value)) < 1000


def test_settings_hold_every_field_and_what_files_say(make_config, corpus):
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["test"])
  one = rendezvous.settings(make_config())
  two = rendezvous.settings(make_config(seed=3, clipping={"bound": 9.0}))
  assert {name for name in one if one[name] != two[name]} == {
    *("seed", "clipping.bound")
  }
  assert len(one["content of data.train"]) == 12
  assert one["keras"] and one["python"]
  other = make_config(data={"test": str(corpus / "validation")})
  found = rendezvous.settings(other)
  assert {name for name in one if one[name] != found[name]} == {
    *("data.test", "content of data.test")
  }
