"""A remote folder takes its place, wherever the process that moves it ends."""

import contextlib

import pytest
import tensorflow as tf

from tf_pcc import files, publishing

NEW = {"a": "1", "deep/b": "2", "z": "3", "last.json": "4"}
OLD = {"a": "0", "old": "0", "last.json": "0"}
# Operations of replacing one by the other.
LIMIT = 10


class Killed(BaseException):
  """As if the process had ended."""


def write(folder, contents):
  for name, content in contents.items():
    path = f"{folder}/{name}"
    files.make_folder(path.rpartition("/")[0])
    files.write_text(path, content)


def read(folder):
  return {
    name: files.read_text(f"{folder}/{name}")
    for name in publishing._names(folder)
  }


@pytest.fixture
def places(request):
  """A whole partial folder and where it is to be, remote ones."""
  root = f"ram://publishing/{request.node.name}"
  # ram:// takes a name for there if it is the beginning of another.
  write(f"{root}/partial", NEW)
  return f"{root}/partial", f"{root}/out"


def count(monkeypatch, limit=None):
  """Ends the process before the operation `limit`; a list of those before."""
  done = []

  def counted(real):
    def call(path, *rest, **named):
      if len(done) == limit:
        raise Killed
      done.append(path)
      return real(path, *rest, **named)

    return call

  for owner, name in (
    (tf.io.gfile, "rename"),
    (tf.io.gfile, "remove"),
    (tf.io.gfile, "rmtree"),
    (publishing, "_mark"),
  ):
    monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
  return done


def test_how_often_it_can_end(places, monkeypatch):
  """The next test covers every operation, and one beyond the last."""
  partial, output = places
  write(output, OLD)
  done = count(monkeypatch)
  publishing.publish(partial, output, "last.json")
  assert len(done) == LIMIT


@pytest.mark.parametrize("older", [{}, OLD])
@pytest.mark.parametrize("limit", range(LIMIT + 1))
def test_wherever_it_ends_it_goes_on(places, monkeypatch, older, limit):
  partial, output = places
  write(output, older)
  with monkeypatch.context() as patched:
    count(patched, limit)
    with contextlib.suppress(Killed):
      publishing.publish(partial, output, "last.json")
  if tf.io.gfile.exists(output) and "last.json" in read(output):
    # Who sees it sees the old one or the new one, whole.
    assert read(output) in (older, NEW)
  publishing.resume(partial, output, "last.json")
  if limit == 0:
    # Not begun: nothing was changed.
    assert read(partial) == NEW
    assert read(output) == older if older else not tf.io.gfile.exists(output)
  else:
    assert read(output) == NEW
    assert not tf.io.gfile.exists(partial)


def test_what_was_not_begun_is_left(places):
  partial, output = places
  publishing.resume(partial, output, "last.json")
  publishing.resume(f"{partial}-missing", output, "last.json")
  assert read(partial) == NEW and not tf.io.gfile.exists(output)
