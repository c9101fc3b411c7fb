"""Stops a run that has exploded, and says what to try."""

import os
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from ml_collections import config_dict

from launch.runs import checkpoints


def require_live(
  line: Mapping[str, Any],
  step: int,
  config: config_dict.ConfigDict,
  directory: str | os.PathLike,
) -> None:
  """Refuses to go on when step after step had no gradient to learn from.

  Args:
    line: dict as in metrics.jsonl, of this step.
    step: int.
    config: the experiment's `ConfigDict`; clipping.skipped_limit of 0 refuses
      nothing.
    directory: the run's directory.

  Raises:
    FloatingPointError: If the last clipping.skipped_limit steps were skipped,
      or the run is at its end and all of them were.
  """
  skipped, limit = (
    line.get("skipped_in_a_row", 0),
    config.clipping.skipped_limit,
  )
  if not limit or skipped < min(limit, config.steps):
    return
  raise FloatingPointError(
    f"the last {skipped} steps had no core with a finite gradient above 0, "
    "and changed nothing: training stopped. Try a smaller "
    "optimizer.learning_rate or more optimizer.warmup_steps from an earlier "
    "checkpoint, listen to the training data, or allow more by "
    f"clipping.skipped_limit; {_last_good(directory)}. Received: step={step}, "
    f"clipping.skipped_limit={limit}, workdir={directory}"
  )


def require_finite(
  model: keras.Model,
  step: int,
  config: config_dict.ConfigDict,
  directory: str | os.PathLike,
) -> None:
  """Refuses to save weights that are not finite.

  Args:
    model: built model.
    step: int.
    config: the experiment's `ConfigDict`.
    directory: the run's directory.

  Raises:
    FloatingPointError: If there is a NaN or an infinity in a weight.
  """
  bad = [w.path for w, ok in zip(model.weights, _finite(model)) if not ok]
  if not bad:
    return
  method = config.clipping.method
  raise FloatingPointError(
    f"{len(bad)} of {len(model.weights)} weights are not finite any more, "
    f"{bad[0]} among them: training stopped and nothing was saved. Try a "
    "smaller optimizer.learning_rate, more optimizer.warmup_steps"
    f"{' or clipping.method=apcc' if method == 'none' else ''}; "
    f"{_last_good(directory)}. Received: step={step}, "
    f"optimizer.learning_rate={config.optimizer.learning_rate}, "
    f"clipping.method={method}, workdir={directory}"
  )


def _finite(model):
  """Whether each weight is, a list of bool."""
  if model not in _askers:
    _askers[model] = _asker(model)
  return _askers[model]().numpy().tolist()


# Traced once a model: TensorFlow warns of functions made for one call.
_askers = weakref.WeakKeyDictionary()


def _asker(model):
  # Not the model itself: what the function holds would hold it for ever.
  known = weakref.ref(model)

  @tf.function(autograph=False)
  def ask():
    asking = known()
    assert asking is not None
    return tf.stack(
      [
        tf.reduce_all(tf.math.is_finite(value))
        if value.dtype.is_floating
        else tf.constant(True)
        for value in (tf.convert_to_tensor(w.value) for w in asking.weights)
      ]
    )

  return ask


def _last_good(directory):
  found = checkpoints.checkpoint_paths(directory)
  if not found:
    return "there is no checkpoint yet"
  step, path = found[-1]
  return f"the last good checkpoint, of step {step}, is {path}"
