"""launch.benchmark input: one small run of each kind."""

import os

import pytest

from launch.benchmark import input_cost
from tf_pcc.data import storage


@pytest.fixture(autouse=True)
def few(monkeypatch):
  monkeypatch.setattr(input_cost, "_MADE", 32)
  monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
  storage._http.cache_clear()
  yield
  os.environ.pop("STORAGE_EMULATOR_HOST", None)
  storage._http.cache_clear()


def _check(found, seconds):
  rate = found["utterances_per_second"]
  assert rate > 0
  per_second = found["seconds_of_sound_per_second"]
  assert per_second == pytest.approx(seconds * rate)
  assert found["megabytes_per_second"] == pytest.approx(0.032 * seconds * rate)


@pytest.mark.parametrize("latency", [0.0, 0.02])
def test_made_records(latency):
  if latency:
    pytest.importorskip("google.auth", reason="the extra gcs is not installed")
  _check(input_cost.run(None, 4, 2, 0.5, latency), 0.5)


def test_given_records(tmp_path):
  input_cost.make(tmp_path / "r", 0.25)
  _check(input_cost.run(str(tmp_path / "r"), 4, 2, 9.0, 0.0), 0.25)
