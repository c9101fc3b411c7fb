"""The program that a core of a TPU would run for a config, in files.

  python -m launch.plan.program REQUEST.json

A process of its own, since TensorFlow's compiler aborts on some mistakes, and
so that its memory is free again when XLA compiles. The request names cores,
per_core_batch, samples, labels, vocab_size, and a directory that holds
config.json. Written there: step.mlir, StableHLO, and step.json, what is known
of it before XLA sees it.
"""

import collections
import dataclasses
import math
import os
import sys

import tensorflow as tf
from absl import logging
from ml_collections import config_dict

from launch.plan import bridge, dataflow, flops, stablehlo, step, tracing
from launch.plan.step import Step
from launch.runs import experiment, saved_config
from tf_pcc import files

_COPIES = 2


def make(
  config: config_dict.ConfigDict,
  cores: int,
  batch: int,
  samples: int,
  labels: int,
  vocab_size: int,
) -> tuple[str | None, Step]:
  """Traces and lowers the training step that launch.train takes.

  Two logical CPU devices must exist.

  Args:
    config: the experiment's `ConfigDict`.
    cores: int, of the TPU.
    batch: int, utterances of a core.
    samples: int, width of the audio.
    labels: int, width of the labels.
    vocab_size: int, the blank included.

  Returns:
    StableHLO, a str, or None when the bridge refuses the step; and the `Step`,
    not compiled.
  """
  strategy = tracing.tpu_strategy(cores, min(_COPIES, cores))
  with strategy.scope():
    model = experiment.compile_model(config, vocab_size, batch)
  data = (
    {
      "audio": tf.TensorSpec([batch, samples]),
      "audio_length": tf.TensorSpec([batch], tf.int32),
    },
    {
      "labels": tf.TensorSpec([batch, labels], tf.int32),
      "label_length": tf.TensorSpec([batch], tf.int32),
    },
  )

  def train_step(data):
    # As in launch.train, nothing comes back to the host.
    model.train_step(data)

  logging.info("tracing the step for %d cores", cores)
  function = tracing.trace(strategy, train_step, data)
  shapes = [v.shape for v in model.trainable_variables]
  found = dataflow.collectives(function, len(shapes))
  sums = collections.Counter()
  sizes = collections.Counter()
  for one in found:
    sums[one.kind] += 1
    sizes[one.kind] += one.bytes
  by_layer, unknown = flops.of_step(model, data)
  facts = step.Step(
    parameters=sum(math.prod(s) for s in shapes),
    state_bytes=_bytes([*model.variables, *model.optimizer.variables]),
    flops=sum(by_layer.values()),
    flops_by_layer=by_layer,
    flops_unknown=tuple(unknown),
    collectives={kind: (count, sizes[kind]) for kind, count in sums.items()},
    clip=_clip(dataflow.split(found, shapes)[0]),
    outside_scope=tuple(tracing.foreign_resources(function, _COPIES)),
    suspects={},
    rejected=None,
    tensorflow=tf.__version__,
  )
  logging.info("TensorFlow's TPU bridge")
  try:
    module = bridge.run(function)
    suspects = {w: tuple(ops) for w, ops in bridge.suspects(module).items()}
    facts = dataclasses.replace(facts, suspects=suspects)
    logging.info("lowering to StableHLO")
    return stablehlo.convert(module), facts
  except bridge.Rejected as error:
    return None, dataclasses.replace(facts, rejected=str(error))


def _bytes(variables):
  return sum(math.prod(v.shape) * v.value.dtype.size for v in variables)


def _clip(gradients):
  """Where all sums of gradients have the clip."""
  where = {
    "before"
    if one.clip_before and not one.clip_after
    else "after"
    if one.clip_after
    else "none"
    for one in gradients
  }
  return where.pop() if len(where) == 1 else "mixed"


def main(path: str | os.PathLike) -> None:
  request = files.read_json(path)
  directory = request.pop("directory")
  logging.set_verbosity(logging.INFO)
  tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * _COPIES,
  )
  program, facts = make(saved_config.load_config(directory), **request)
  if program:
    files.write_text(files.join(directory, "step.mlir"), program)
  files.write_json(
    files.join(directory, "step.json"), dataclasses.asdict(facts)
  )


if __name__ == "__main__":
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  main(sys.argv[1])
