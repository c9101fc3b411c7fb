"""launch.benchmark ctc: both losses of the same utterances, timed."""

import json

from launch.benchmark import ctc_cost


def test_a_small_run():
  sizes = {"batch": 2, "frames": 12, "labels": 3, "vocab": 5}
  figures = ctc_cost.measure(sizes, 3)
  theirs, ours = figures["tf.nn.ctc_loss"], figures["ctc_losses"]
  assert abs(theirs["loss"] / ours["loss"] - 1) < 1e-5
  assert theirs["times_as_fast"] == 1 and theirs["quartiles"] == [1, 1]
  low, high = ours["quartiles"]
  assert 0 < low <= ours["times_as_fast"] <= high
  json.dumps(figures)
