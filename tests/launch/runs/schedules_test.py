"""Learning rates against their formulas."""

import math

import numpy as np

from launch.runs import schedules


def rates(config, steps):
  schedule = schedules.make_schedule(config)
  if isinstance(schedule, float):
    return [schedule] * len(steps)
  return [float(schedule(step)) for step in steps]


def test_schedules(make_config):
  def found(schedule, warmup, steps):
    config = make_config(
      steps=100,
      optimizer={
        "schedule": schedule,
        "warmup_steps": warmup,
        "learning_rate": 0.8,
      },
    )
    return rates(config, steps)

  assert found("constant", 0, [0, 99]) == [0.8, 0.8]
  np.testing.assert_allclose(
    found("constant", 4, [0, 1, 3, 50]), [0.2, 0.4, 0.8, 0.8], rtol=1e-6
  )
  np.testing.assert_allclose(
    found("rsqrt", 4, [0, 3, 15, 63]), [0.2, 0.8, 0.4, 0.2], rtol=1e-6
  )
  cosine = [0.8 * (1 + math.cos(math.pi * s / 100)) / 2 for s in (0, 50, 100)]
  np.testing.assert_allclose(
    found("cosine", 0, [0, 50, 100]), cosine, atol=1e-6
  )
  np.testing.assert_allclose(
    found("cosine", 20, [0, 10, 20, 60, 100]), [0, 0.4, 0.8, 0.4, 0], atol=1e-6
  )
  # A warm-up that does not fit takes half the steps.
  np.testing.assert_allclose(
    found("constant", 300, [24, 49, 99]), [0.4, 0.8, 0.8], rtol=1e-6
  )
