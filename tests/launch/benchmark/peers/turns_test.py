"""Sides of a comparison: equal or refused; ratios of the same round."""

import time

import numpy as np
import pytest

from launch.benchmark.peers import turns


def side(*outputs, **fields):
  outputs = [np.array(x, np.float32) for x in outputs]
  return turns.Side(lambda: None, outputs=outputs, **fields)


def test_difference_is_relative_to_what_is_large():
  ours = side([1000.0, 2.0], [0.5])
  assert turns.difference(ours, side([1000.5, 2.0], [0.5]), 1e-3) == 5e-4
  assert turns.difference(ours, side([1000.0, 2.0], [0.25]), 0.5) == 0.25
  assert turns.difference(ours, turns.Side(lambda: None), 0) is None
  for wrong in ([1002.0, 2.0], [np.nan, 2.0], [[1000.0, 2.0]]):
    with pytest.raises(turns.Different, match="Received: "):
      turns.difference(ours, side(wrong, [0.5]), 1e-3)


def test_ratios_are_of_the_same_round():
  rng = np.random.default_rng(0)
  busy, mine, other, plain = rng.uniform(1, 2, [4, 9])
  # What slows a round slows both.
  ours = {"cpu": busy * mine, "wall": 2 * busy * mine}
  peer = {"cpu": busy * other, "wall": busy * other}
  row = turns.figures(ours, peer)
  ratios = mine / other
  np.testing.assert_allclose(row["ratio"], np.median(ratios))
  np.testing.assert_allclose(
    row["quartiles"], np.quantile(ratios, [0.25, 0.75])
  )
  np.testing.assert_allclose(row["wall_ratio"], 2 * np.median(ratios))
  assert row["unit"] == "CPU seconds" and row["ours"] == np.median(ours["cpu"])
  ours |= {"plain_cpu": busy * plain, "plain_wall": busy * plain}
  peer |= {"plain_cpu": busy, "plain_wall": busy}
  row = turns.figures(ours, peer)
  np.testing.assert_allclose(row["ratio"], np.median(ratios / plain))
  np.testing.assert_allclose(row["ours"], np.median(mine / plain))
  assert row["unit"] == "times the plain step"


def test_turns_count_cpu_time(monkeypatch):
  monkeypatch.setattr(turns, "_TURN_SECONDS", 0.01)

  def spin():
    end = time.process_time() + 0.01
    while time.process_time() < end:
      pass

  def sleep():
    time.sleep(0.01)

  sides = {"ours": turns.Side(spin, plain=sleep), "peer": turns.Side(sleep)}
  times = turns.take(sides, 3)
  assert set(times["ours"]) == {"cpu", "wall", "plain_cpu", "plain_wall"}
  assert set(times["peer"]) == {"cpu", "wall"}
  assert all(len(x) == 3 for by in times.values() for x in by.values())
  assert (times["ours"]["cpu"] >= 0.009).all()
  assert (times["ours"]["plain_cpu"] < 0.005).all()
  assert (times["peer"]["wall"] >= 0.01).all()
