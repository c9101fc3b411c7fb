"""metrics.jsonl: every line once, all of it JSON."""

import json
import math

import pytest

from launch.runs import metrics


@pytest.fixture
def lines():
  return [{"step": step, "loss": 1 / step} for step in range(1, 6)]


def test_what_is_written_is_read(tmp_path, lines):
  writer = metrics.Writer(tmp_path)
  for line in lines:
    writer.write(line)
  assert metrics.read(tmp_path) == lines
  assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("died", ["", '{"step": 5, "lo'])
def test_lines_after_the_checkpoint_are_dropped(tmp_path, lines, died):
  """Also one that was being written when the run died."""
  first = metrics.Writer(tmp_path)
  for line in lines[:4]:
    first.write(line)
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write(died)
  second = metrics.Writer(tmp_path, step=3)
  assert metrics.read(tmp_path) == lines[:3]
  for line in lines[3:]:
    second.write(line)
  assert metrics.read(tmp_path) == lines
  metrics.Writer(tmp_path, step=0)
  assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_json_has_no_word_for_nan(tmp_path):
  line = {
    "step": 1,
    "loss": math.nan,
    "clip_bound": math.inf,
    "inner": {"least": -math.inf, "count": 3, "method": "batch"},
  }
  metrics.Writer(tmp_path).write({k: line[k] for k in ("step", "loss")})

  def refuse(token):
    raise AssertionError(token)

  written = (tmp_path / "metrics.jsonl").read_text()
  assert json.loads(written, parse_constant=refuse)["loss"] is None
  assert metrics.finite(line) == {
    "step": 1,
    "loss": None,
    "clip_bound": None,
    "inner": {"least": None, "count": 3, "method": "batch"},
  }


def test_a_file_where_tensorboard_writes_is_named(tmp_path):
  (tmp_path / "tensorboard").write_text("")
  with pytest.raises(OSError, match="tensorboard"):
    metrics.Writer(str(tmp_path))
