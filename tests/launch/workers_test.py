"""launch.train as two real processes on loopback."""

import json
import os
import re
import signal

import numpy as np
import pytest
import tensorflow as tf

from launch.runs import checkpoints, metrics, opening
from tests.launch import workers_main
from tests.workers import run_workers
from tf_pcc import files

STEPS = 4


@pytest.fixture
def fields():
  return {
    "steps": STEPS,
    "clipping": {"method": "running", "decay": 0.7},
    "checkpoint_every": 3,
    # Adam divides gradients that are zero but for rounding by their own size.
    "optimizer": {"name": "sgd", "learning_rate": 0.01},
  }


def test_two_workers_are_two_cores(
  make_config, write_config, train_cores, tmp_path, fields
):
  """Interrupted, resumed, and still the run of one process with two cores."""
  path = write_config(**fields).removeprefix("--config=")
  found = run_workers(
    ["-m", "tests.launch.workers_main", str(tmp_path), path, str(STEPS)]
  )
  chief, other = (json.loads(text.splitlines()[-1]) for text in found)
  run, alone = tmp_path / "run", tmp_path / "alone"
  expected = train_cores(make_config(**fields), alone)

  # Both stopped after the same step, and one of them wrote the run.
  assert {p.name for p in tmp_path.glob("*.npz")} == {
    f"{task}-{step}.npz"
    for task in range(2)
    for step in (workers_main.INTERRUPTED, 3, STEPS)
  }
  assert [step for step, _ in checkpoints.checkpoint_paths(run)] == [3, STEPS]
  names = {name.partition(".")[0] for name in os.listdir(run / "checkpoints")}
  assert names == {"checkpoint", "ckpt-3", f"ckpt-{STEPS}"}
  assert files.read_json(run / "summary.json")["wer"] == chief["wer"]
  assert "wer" not in other and other["steps"] == STEPS

  weights = [np.load(tmp_path / f"{task}-{STEPS}.npz") for task in range(2)]
  model, *_ = opening.load_model(str(alone))
  arrays = weights[0].files
  for name, reference in zip(arrays, model.get_weights(), strict=True):
    np.testing.assert_array_equal(weights[0][name], weights[1][name])
    np.testing.assert_allclose(
      weights[0][name], reference, rtol=1e-5, atol=1e-6
    )
  assert chief["wer"] == expected["wer"]
  lines, lines_alone = metrics.read(run), metrics.read(alone)
  assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
  for line, line_alone in zip(lines, lines_alone):
    for name in ("loss", "core_norm_min", "core_norm_max", "clip_bound"):
      np.testing.assert_allclose(line[name], line_alone[name], rtol=1e-4)


@pytest.mark.parametrize("worker", [1, pytest.param(0, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_a_worker_killed_in_a_step_costs_no_bit(
  write_config, tmp_path, fields, worker
):
  """The other one says so in a sentence; the same command ends the same run."""
  path = write_config(**{**fields, "checkpoint_every": 2})
  run, whole = tmp_path / "run", tmp_path / "whole"
  flags = [path, f"--workdir={run}"]
  found = run_workers(
    ["-m", "tests.launch.killed_main", str(worker), "3", *flags], check=False
  )
  assert found[worker][0] == -signal.SIGKILL
  code, text = found[1 - worker]
  said = [line for line in text.splitlines() if line.startswith("launch.tr")]
  assert code == 1 and len(said) == 1, text[-3000:]
  assert re.search(
    rf": worker {worker} \(127.0.0.1:\d+\) of TF_CONFIG ended or is out of "
    r"reach, since \d\d:\d\d:\d\d .*the same command on all workers goes on",
    said[0],
  )
  assert "Traceback" not in text
  assert [step for step, _ in checkpoints.checkpoint_paths(run)] == [2]
  run_workers(["-m", "launch.train", *flags])
  run_workers(["-m", "launch.train", path, f"--workdir={whole}"])
  resumed, expected = (
    tf.train.load_checkpoint(dict(checkpoints.checkpoint_paths(folder))[STEPS])
    for folder in (run, whole)
  )
  names = expected.get_variable_to_shape_map()
  assert names == resumed.get_variable_to_shape_map() and len(names) > 50
  # The order of its objects' attributes is another after restoring.
  for name in sorted(names.keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}):
    np.testing.assert_array_equal(
      resumed.get_tensor(name), expected.get_tensor(name), name
    )


def test_workers_that_do_not_share_a_directory(write_config, tmp_path, fields):
  """Each on a machine of its own: one has the checkpoint, the other not."""
  path = write_config(**fields)
  folder = tmp_path / "run-1" / "checkpoints"
  folder.mkdir(parents=True)
  for name in ("ckpt-7.index", "ckpt-7.data-00000-of-00001"):
    (folder / name).write_text("")
  command = ["-m", "launch.train", path, f"--workdir={tmp_path}/run-{{task}}"]
  with pytest.raises(AssertionError, match="worker 1 has another workdir"):
    run_workers(command)


def test_workers_with_other_settings_are_told_before_they_start(
  write_config, tmp_path, fields
):
  """Each says which field differs on which worker, without a stack trace."""
  path = write_config(**fields)
  command = [
    *("-m", "launch.train", path, f"--workdir={tmp_path}/run"),
    *("--config.seed={task}", "--config.log_every=3{task}"),
  ]
  with pytest.raises(AssertionError) as error:
    run_workers(command)
  message = str(error.value)
  assert "seed is 1 on worker 1, 0 here" in message
  assert "log_every is 31 on worker 1, 30 here" in message
  assert "Traceback" not in message
  assert not (tmp_path / "run" / "config.json").exists()


def test_a_worker_that_never_comes_is_named(write_config, tmp_path, fields):
  path = write_config(**fields)
  command = ["-m", "launch.train", path, f"--workdir={tmp_path}/run"]
  with pytest.raises(AssertionError, match=r"no word of worker 1 \(127"):
    run_workers([*command, "--worker_wait=0.02"], started=1)
