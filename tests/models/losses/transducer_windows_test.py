"""The rules of the windows, on occupancies and on plain noise."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import transducer_windows
from tests.models.losses import transducer_reference as naive

LENGTHS = np.array([9, 9, 5, 1, 7, 3, 0], np.int32)
COUNTS = np.array([11, 4, 8, 2, 0, 11, 3], np.int32)
FRAMES, COLUMNS = 9, 12


def noise(seed):
  """Occupancies of no lattice, whose best windows jump back and forth."""
  rng = np.random.default_rng(seed)
  return rng.random([2, len(LENGTHS), FRAMES, COLUMNS]).astype(np.float32)


def choose(blank, label, size):
  starts = transducer_windows.choose(blank, label, LENGTHS, COUNTS, size)
  return starts.numpy()


@pytest.mark.parametrize("size", [2, 3, 5, 12, 20])
@pytest.mark.parametrize("seed", range(3))
def test_starts_equal_the_rules(size, seed):
  blank, label = noise(seed)
  starts = choose(blank, label, size)
  for row, (length, count) in enumerate(zip(LENGTHS, COUNTS)):
    if length == 0:
      continue
    inside = np.s_[row, :length, : count + 1]
    found = starts[row, :length]
    # Labels beyond the last would lead out of the utterance.
    want = naive.window_starts(
      blank[inside].astype(float), label[inside].astype(float), size
    )
    assert found.tolist() == want
    moves = np.diff(found)
    assert found[0] == 0 and np.all(moves >= 0) and np.all(moves < size)
    assert np.all(found <= max(0, count + 1 - size))
    if count <= length * (size - 1):
      assert found[-1] + size > count
    # Behind the end the windows still are windows.
    assert np.all(starts[row] <= COLUMNS - min(size, COLUMNS))


def test_nothing_moves_that_keeps_the_rules():
  """Certain occupancies: the windows are where the path is."""
  path = [0, 0, 1, 1, 3, 3, 4, 5, 5]
  blank = np.zeros([1, 9, 6], np.float32)
  blank[0, range(9), path] = 1.0
  label = np.zeros_like(blank)
  for t, (a, b) in enumerate(zip([0, *path], path)):
    label[0, t, a:b] = 1.0
  starts = transducer_windows.choose(
    blank, label, np.array([9], np.int32), np.array([5], np.int32), 3
  )
  for t, start in enumerate(starts[0].numpy()):
    assert start <= path[t] < start + 3


@pytest.mark.parametrize("columns", [4, 12])
def test_into_windows_and_back(columns):
  rng = np.random.default_rng(0)
  starts = np.sort(rng.integers(0, columns, [3, 7]), axis=1)
  windows = transducer_windows.Windows(tf.constant(starts, tf.int32), 3)
  rows = rng.normal(size=[3, columns, 5]).astype(np.float32)
  nodes = rng.normal(size=[3, 7, columns]).astype(np.float32)
  taken = transducer_windows.take(rows, windows).numpy()
  narrow = transducer_windows.narrow(nodes, windows).numpy()
  spread = transducer_windows.spread(narrow, windows, columns, -1.0).numpy()
  changes = rng.normal(size=taken.shape).astype(np.float32)
  back = np.zeros_like(rows)
  for b, t, i in np.ndindex(3, 7, 3):
    column = starts[b, t] + i
    inside = column < columns
    np.testing.assert_array_equal(
      taken[b, t, i], rows[b, min(column, columns - 1)]
    )
    assert narrow[b, t, i] == (nodes[b, t, column] if inside else 0.0)
    if inside:
      back[b, column] += changes[b, t, i]
  for b, t, u in np.ndindex(3, 7, columns):
    inside = 0 <= u - starts[b, t] < 3
    assert spread[b, t, u] == (nodes[b, t, u] if inside else -1.0)
  found = transducer_windows.put_back(changes, windows, columns)
  np.testing.assert_allclose(found, back, atol=1e-5)
