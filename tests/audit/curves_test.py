"""Curves of methods: means over runs, their range, names that do not touch."""

import io

import numpy as np
import pytest

from tf_pcc.audit import curves

matplotlib = pytest.importorskip("matplotlib")


def _runs(*pairs):
  return [curves.Curve("pcc", x, y) for x, y in pairs]


def test_a_band_is_the_mean_and_the_range_at_equal_steps():
  random = np.random.default_rng(0)
  x = np.sort(random.choice(100, 6, replace=False))
  ys = random.normal(size=(3, 6))
  band = curves.band_of(_runs(*((x, y) for y in ys)))
  np.testing.assert_array_equal(band.x, x)
  np.testing.assert_allclose(band.mean, ys.mean(0))
  np.testing.assert_array_equal(band.low, ys.min(0))
  np.testing.assert_array_equal(band.high, ys.max(0))


def test_a_band_lies_where_all_runs_have_a_value():
  band = curves.band_of(_runs(([0, 10], [0, 10]), ([5, 20], [0, 15])))
  assert band.x.tolist() == [5, 10]
  assert band.mean.tolist() == [2.5, 7.5]
  assert curves.band_of(_runs(([0, 1], [0, 0]), ([2, 3], [0, 0]))) is None


def test_against_an_error_rate_the_first_crossing_counts():
  """The second run passes 0.3 at y = 2, rises, and comes back at y = 9."""
  band = curves.band_of(
    _runs(([0.5, 0.1], [0, 4]), ([0.5, 0.3, 0.4, 0.1], [0, 2, 5, 10])),
    falling=True,
  )
  assert band.x[0] == 0.5 and band.x[-1] == 0.1
  at = np.argmin(abs(band.x - 0.3))
  assert band.mean[at] == pytest.approx((2 + 2) / 2, abs=0.1)
  assert band.mean[-1] == 7 and band.low[-1] == 4 and band.high[-1] == 10


@pytest.mark.parametrize("seed", range(5))
def test_names_are_apart_and_in_order(seed):
  heights = np.random.default_rng(seed).uniform(0, 1, 8)
  moved = np.array(curves.spread_out(heights, gap=0.1))
  order = np.argsort(heights)
  assert (np.diff(moved[order]) > 0.1 - 1e-9).all()
  assert moved.mean() == pytest.approx(heights.mean())


def test_names_that_are_apart_stay():
  assert curves.spread_out([0.9, 0.1, 0.5], gap=0.1) == [0.9, 0.1, 0.5]


@pytest.mark.filterwarnings("error")
def test_only_methods_of_several_runs_get_a_mean():
  def draw(*runs):
    return curves.curves_figure("a", "A", "Text.", list(runs), "x", "y")

  one = draw(curves.Curve("pcc", [1, 2], [3.0, 4.0]))
  assert one.text == "Text. pcc 4 at 2."
  two = draw(*_runs(([1, 2], [3.0, 4.0]), ([1, 2], [5.0, 6.0])))
  assert two.text.startswith("Thick: mean over the runs of a method;")
  assert two.text.endswith("Text. pcc 4 at 2, 6 at 2.")
  shapes = {
    matplotlib.image.imread(io.BytesIO(figure.png)).shape[:2]
    for figure in (one, two)
  }
  assert shapes == {(780, 1040)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$\\frac$", "a long name of a method " * 9])
def test_a_name_is_no_formula_and_leaves_room(name):
  curve = curves.Curve(name, [1, 2], [3.0, 4.0])
  figure = curves.curves_figure("a", "A", "", [curve], "x", "y")
  assert figure.png.startswith(b"\x89PNG")
