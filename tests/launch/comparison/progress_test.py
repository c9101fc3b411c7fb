"""The one bar over all runs."""

import types

from launch.comparison.progress import Progress


def test_the_bar_grows_with_what_is_tried():
  def job(name, step):
    config = types.SimpleNamespace(steps=10)
    return types.SimpleNamespace(
      directory=name, config=config, step=lambda: step
    )

  with Progress([job("a", 0), job("b", 10)]) as progress:
    assert (progress._bar.total, progress._bar.n) == (20, 10)
    progress.add([job("b", 10), job("c", 4)])
    assert (progress._bar.total, progress._bar.n) == (30, 14)
