"""launch.benchmark streaming: figures that hang together."""

import numpy as np
import pytest

from launch.benchmark import streaming_cost
from models import registry


def test_figures_hang_together():
  encoder = {"dim": 8, "blocks": 1, "heads": 2, "kernel": 3, "chunk_frames": 2}
  model = registry.build_model(
    "streaming_conformer_ctc",
    {"encoder": encoder, "features": {"mels": 8}},
    5,
  )
  figures = streaming_cost.measure(model, seconds=2.0, streams=2)
  assert figures["chunk"] == 0.08 and figures["streams"] == 2
  assert figures["sound"] == pytest.approx(2.0)
  assert 0 < figures["median_computing"] <= figures["slow_computing"]
  assert figures["latency"] == 0.08 + figures["median_computing"]
  state = model.initial_state(2).values()
  assert figures["state_bytes"] == 4 * sum(np.prod(t.shape) for t in state)
  least = figures["median_computing"] * 25 / 2 / 2.0
  assert least < figures["real_time_factor"] < 5
  words = streaming_cost.report(figures)
  assert "80 ms algorithmic" in words and "2 frames" in words


def test_json_in_a_directory_that_is_missing(run_program, tmp_path):
  end = run_program(
    "benchmark",
    "streaming",
    "--model_size=tiny",
    f"--json={tmp_path / 'no' / 'a'}",
  )
  assert "--json" in end.complaint
