"""Where in the model the ops are that a TPU does not take.

  python -m launch.plan.refusal REQUEST.json

TensorFlow's bridge names the kinds of ops only. So the same step is traced once
more, for one core, where layers and name scopes are in the names of the ops and
each op knows the line that made it. The request is that of
`launch.plan.program`; step.json, which that wrote, names the kinds; written is
where.json.
"""

import collections
import os
import re
import sys
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
from ml_collections import config_dict

from launch.plan import step
from launch.runs import experiment, saved_config
from tf_pcc import files

_FRAMEWORKS = tuple(
  os.path.dirname(os.path.abspath(path)) + os.sep
  for path in (tf.__file__, keras.__file__)
  if path
)
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep
_SHOWN = 3
_UNFIT = (tf.string, tf.float64)


def trace(
  config: config_dict.ConfigDict,
  batch: int,
  samples: int,
  labels: int,
  vocab_size: int,
) -> tf.Graph:
  """The training step of one core.

  Args:
    config: the experiment's `ConfigDict`.
    batch: int, utterances.
    samples: int, width of the audio.
    labels: int, width of the labels.
    vocab_size: int, the blank included.

  Returns:
    tf.Graph.
  """
  model = experiment.compile_model(config, vocab_size, batch)

  @tf.function
  def train_step(audio, audio_length, labels, label_length):
    model.train_step(
      (
        {"audio": audio, "audio_length": audio_length},
        {"labels": labels, "label_length": label_length},
      )
    )

  return train_step.get_concrete_function(
    tf.TensorSpec([batch, samples]),
    tf.TensorSpec([batch], tf.int32),
    tf.TensorSpec([batch, labels], tf.int32),
    tf.TensorSpec([batch], tf.int32),
  ).graph


def where(
  graph: tf.Graph, rejected: str | None, suspects: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
  """The places of the ops that are not taken.

  Args:
    graph: tf.Graph of a step, without a strategy.
    rejected: str, the bridge's words, or None.
    suspects: dict, of `launch.plan.bridge.suspects`.

  Returns:
    dict from the kind of an op, such as "tf.Where", to a list of str: its name,
    which holds scopes and layers, and the line that made it, in the step's
    order, so that a cause comes before what follows from it. Of suspects only
    ops that themselves have a shape that is not static, strings or float64.
  """
  refused = set(re.findall(r"tf\.\w+", rejected or ""))
  suspected = {kind for kinds in suspects.values() for kind in kinds}
  found = collections.defaultdict(list)
  for op in graph.get_operations():
    kind = f"tf.{op.type}"
    if kind in refused or kind in suspected and _unfit(op):
      found[kind].append(f"{op.name}{_line(op)}")
  # Bodies of loops and branches.
  for function in graph.as_graph_def().library.function:
    for node in function.node_def:
      if f"tf.{node.op}" in refused:
        found[f"tf.{node.op}"].append(node.name)
  return {
    kind: places[:_SHOWN]
    + ([f"{len(places) - _SHOWN} more"] if len(places) > _SHOWN else [])
    for kind, places in found.items()
  }


def _unfit(op):
  return any(
    not tensor.shape.is_fully_defined() or tensor.dtype in _UNFIT
    for tensor in (*op.inputs, *op.outputs)
    if tensor.dtype not in (tf.resource, tf.variant)
  )


def _line(op):
  """The innermost line that is neither TensorFlow's nor Keras'."""
  for frame in reversed(op.traceback or ()):
    path = os.path.abspath(frame.filename)
    if os.path.exists(path) and not path.startswith(_FRAMEWORKS):
      return f" ({path.removeprefix(_ROOT)}:{frame.lineno})"
  return ""


def main(path: str | os.PathLike) -> None:
  request = files.read_json(path)
  directory, _ = request.pop("directory"), request.pop("cores")
  facts = step.from_json(files.read_json(files.join(directory, "step.json")))
  graph = trace(saved_config.load_config(directory), **request)
  places = where(graph, facts.rejected, facts.suspects)
  files.write_json(files.join(directory, "where.json"), places)


if __name__ == "__main__":
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  main(sys.argv[1])
