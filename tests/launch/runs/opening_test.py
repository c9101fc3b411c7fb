"""A run's directory: written whole, opened again, its checkpoints."""

import json
import math
import os

import numpy as np
import pytest
import tensorflow as tf

from launch.runs import checkpoints, metrics, opening, saved_config


def test_a_config_comes_back(make_config, tmp_path):
  """Groups with fields of their own, tuples, numbers JSON has no word for."""
  config = make_config(clipping={"bound": math.inf}, seed=3)
  config.optimizer.arguments = {"weight_decay": 0.1}
  config.data.buckets_seconds = (1.0, 2.0)
  saved_config.save_config(str(tmp_path), config)
  saved_config.check_config(str(tmp_path), config)
  found = saved_config.load_config(str(tmp_path))
  assert found.to_json() == config.to_json()
  assert tuple(found.data.buckets_seconds) == (1.0, 2.0)
  assert found.clipping.bound == math.inf


@pytest.mark.parametrize(
  ("method", "normalize"),
  [("apcc", "false"), ("running", "false"), ("pcc", "auto"), ("none", "auto")],
)
def test_a_config_of_before_a_field_has_what_its_run_had(
  make_config, tmp_path, method, normalize
):
  config = make_config(clipping={"method": method})
  saved_config.save_config(str(tmp_path), config)
  path = tmp_path / "config.json"
  saved = json.loads(path.read_text())
  del saved["clipping"]["normalize"], saved["optimizer"]["beta_2"]
  saved["optimizer"]["arguments"] = {"beta_2": 0.98, "epsilon": 1e-9}
  path.write_text(json.dumps(saved))
  found = saved_config.load_config(str(tmp_path))
  assert found.clipping.normalize == normalize
  assert found.optimizer.beta_2 == 0.98
  assert found.optimizer.arguments.to_dict() == {"epsilon": 1e-9}
  # Going on with it is going on as it was.
  config.optimizer.beta_2 = 0.98
  config.optimizer.arguments = {"epsilon": 1e-9}
  if normalize == "auto":
    saved_config.check_config(str(tmp_path), config)
  else:
    with pytest.raises(ValueError, match="normalize: 'false' there, 'auto' no"):
      saved_config.check_config(str(tmp_path), config)


@pytest.mark.parametrize(
  ("group", "field", "value", "refused"),
  [
    ("", "seed", 5, True),
    ("", "batch", 8, True),
    ("clipping", "method", "pcc", True),
    ("optimizer", "learning_rate", 1.0, True),
    ("", "steps", 50, False),
    ("", "log_every", 7, False),
    ("", "keep_checkpoints", 9, False),
    ("data", "cache", "/elsewhere", False),
  ],
)
def test_what_may_change_between_two_parts_of_a_run(
  make_config, tmp_path, group, field, value, refused
):
  config = make_config()
  saved_config.save_config(str(tmp_path), config)
  (config[group] if group else config)[field] = value
  if refused:
    name = f"{group}.{field}" if group else field
    with pytest.raises(ValueError, match=f"{name}: .* there, .*{value}.* now"):
      saved_config.check_config(str(tmp_path), config)
  else:
    saved_config.check_config(str(tmp_path), config)


def test_steps_are_not_free_where_canaries_are_spread_over_them(
  make_config, tmp_path
):
  config = make_config(canaries={"insert": True})
  saved_config.save_config(str(tmp_path), config)
  config.steps += 1
  with pytest.raises(ValueError, match="steps: 3 there, 4 now"):
    saved_config.check_config(str(tmp_path), config)


@pytest.mark.parametrize("keep", [0, 2])
def test_checkpoints_are_kept_and_opened(saved_run, tmp_path, keep):
  model, tokenizer, config, step = opening.load_model(str(saved_run))
  assert step == 7 and tokenizer.vocab_size == 4 and config.batch == 4
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  run = str(tmp_path / "run")
  saved_config.save_config(run, config)
  opening.save_tokenizer(run, tokenizer)
  saver = checkpoints.Checkpoints(run, model, keep)
  for number in (1, 2, 2, 3):
    model.head.bias.assign(np.full(4, float(number)))
    saver.save(number)
  found = checkpoints.checkpoint_paths(run)
  assert [step for step, _ in found] == [1, 2, 3][-keep:]
  # The second call for step 2 wrote nothing.
  for number, path in found:
    other, *_, step = opening.load_model(run, path)
    assert step == number
    np.testing.assert_array_equal(other.head.bias.numpy(), [number] * 4)
  # A directory may move.
  os.rename(run, tmp_path / "moved")
  assert opening.load_model(str(tmp_path / "moved"))[3] == 3


def test_a_run_in_a_bucket(make_config, train_cores):
  """All that a run writes and reads goes through tf.io.gfile."""
  run = "ram://bucket/runs/one"
  config = make_config(steps=1, data={"test": ""})
  train_cores(config, run, cores=1)
  assert {"config.json", "metrics.jsonl", "summary.json", "tensorboard"} < set(
    tf.io.gfile.listdir(run)
  )
  assert [line["step"] for line in metrics.read(run)] == [1]
  ((step, path),) = checkpoints.checkpoint_paths(run)
  assert step == 1 and path.startswith(run)
  model, *_ = opening.load_model(run)
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  model.head.bias.assign(np.full(4, 5.0))
  saver = checkpoints.Checkpoints(run, model, keep=1)
  saver.save(2)
  model.head.bias.assign(np.zeros(4))
  saver.restore(2)
  np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, 5.0))
  # Only one is kept, in the bucket too.
  assert [step for step, _ in checkpoints.checkpoint_paths(run)] == [2]
  names = tf.io.gfile.listdir(f"{run}/checkpoints")
  assert "ckpt-2.index" in names and "ckpt-1.index" not in names


def test_no_checkpoint_yet(make_config, tmp_path):
  saved_config.save_config(str(tmp_path), make_config())
  with pytest.raises(ValueError, match="must hold a checkpoint"):
    opening.load_model(str(tmp_path))
