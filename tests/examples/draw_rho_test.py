"""The picture of a falling bound, and what Adam makes of it."""

import json

import keras
import numpy as np
import pytest

from examples import draw_rho


def test_the_root_is_that_of_keras_adam():
  rho = np.array([289.0, 50.0, 20.0, 19.0, 21.0])
  for beta_2 in (0.98, 0.999):
    variable = keras.Variable([0.0])
    adam = keras.optimizers.Adam(1.0, beta_1=0.0, beta_2=beta_2, epsilon=1e-12)
    moved, before = [], 0.0
    for value in rho:
      adam.apply([keras.ops.convert_to_tensor([value])], [variable])
      now = float(variable[0])
      moved.append(before - now)
      before = now
    found = draw_rho.root_of_second_moments(rho, beta_2)
    np.testing.assert_allclose(rho / found, moved, rtol=1e-4)


def test_between_logged_steps_the_logarithm_is_straight():
  found = draw_rho.every_step([2, 4], [100.0, 1.0])
  np.testing.assert_allclose(found, [100, 100, 10, 1])


def test_a_run_without_a_bound_is_refused(tmp_path):
  lines = [{"step": 1, "clip_bound": 2.0}, {"step": 2, "clip_bound": None}]
  with pytest.raises(ValueError, match="Received: 1 bounds"):
    draw_rho.picture(lines)


def test_a_picture_of_a_run(tmp_path):
  pytest.importorskip("matplotlib")
  lines = [{"step": s, "clip_bound": 300.0 / s} for s in (10, 20, 30)]
  (tmp_path / "metrics.jsonl").write_text(
    "".join(json.dumps(line) + "\n" for line in lines)
  )
  output = tmp_path / "rho.png"
  draw_rho.main([str(tmp_path), str(output)])
  assert output.read_bytes().startswith(b"\x89PNG")
