"""What share of this machine's matrix-product rate a training step reaches.

  python -m launch.benchmark roofline --model_size=S --json=roofline.json

The rate of the step is its products' operations, counted from the graph as
launch.plan counts them, over its time; the machine's is that of one large
product in float32. Both take turns in one process, so that a busy machine slows
them alike. Then the step is profiled: the kinds of op that take the longest.
The model is Conformer CTC, from sound, with Adam and without clipping; it
trains on noise.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from launch import cli
from launch.benchmark import attention_cost, options, profile
from launch.plan import flops
from models import conformer
from tf_pcc import bars, files

_THREADS = 2
_SIDE = 1024
_KINDS = 5
_PROFILED = 3


def make_product(side: int = _SIDE) -> tuple[Callable[[], None], int]:
  """One matrix product.

  Args:
    side: int, rows and columns of both factors.

  Returns:
    function without arguments that computes it; its operations.
  """
  factors = tf.random.stateless_normal([2, side, side], (0, 0))
  product = tf.function(tf.matmul, autograph=False)

  def run():
    # Read, or it may still be on its way.
    float(product(factors[0], factors[1])[0, 0])

  return run, 2 * side**3


def step_operations(model: Any, utterances: int, seconds: float) -> int:
  """Operations of the products of a step of `attention_cost.make_step`.

  Args:
    model: `SpeechModel`.
    utterances: int.
    seconds: float, of each.

  Returns:
    int, a multiplication and an addition counting two.
  """
  integers = tf.TensorSpec([utterances], tf.int32)
  samples = int(seconds * model.log_mel.sample_rate)
  labels = tf.TensorSpec([utterances, int(4 * seconds)], tf.int32)
  x = {"audio": tf.TensorSpec([utterances, samples]), "audio_length": integers}
  y = {"labels": labels, "label_length": integers}
  return sum(flops.of_step(model, (x, y))[0].values())


def measure(
  size: str, utterances: int, seconds: float, rounds: int
) -> dict[str, Any]:
  """The step's rate beside the product's, and its costliest ops.

  Args:
    size: str, of `conformer.SIZES`.
    utterances: int.
    seconds: float, of each.
    rounds: int, turns of both.

  Returns:
    dict of operations of a step, median step_seconds, step_rate and
    product_rate in operations a second, share and its quartiles, and kinds, a
    list of kind, seconds and share of all ops' time.
  """
  model = attention_cost.make_models({"size": size})["layer"]
  operations = step_operations(model, utterances, seconds)
  step = attention_cost.make_step(model, utterances, seconds)
  product, of_product = make_product()
  for work in (step, step, product, product):
    work()
  times = []
  for _ in bars.make(range(rounds), unit="round"):
    times.append([_seconds(step), _seconds(product)])
  step_seconds, product_seconds = np.transpose(times)
  step_rates, product_rates = (
    operations / step_seconds,
    of_product / product_seconds,
  )
  low, middle, high = np.quantile(
    step_rates / product_rates, [0.25, 0.5, 0.75]
  ).tolist()
  by_kind = profile.seconds_by_kind(step, _PROFILED)
  total = sum(by_kind.values())
  return {
    "operations": operations,
    "step_seconds": statistics.median(step_seconds.tolist()),
    "step_rate": statistics.median(step_rates.tolist()),
    "product_rate": statistics.median(product_rates.tolist()),
    "share": middle,
    "share_quartiles": [low, high],
    "kinds": [
      {"kind": kind, "seconds": spent, "share": spent / total}
      for kind, spent in list(by_kind.items())[:_KINDS]
    ],
  }


def _seconds(work):
  """Of the second of two calls: the first brings back the caches."""
  work()
  start = time.perf_counter()
  work()
  return time.perf_counter() - start


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, sizes = options.json_path(), options.sizes()
  tf.config.threading.set_intra_op_parallelism_threads(_THREADS)
  settings = {
    "size": options.model_size(),
    "utterances": sizes["batch"],
    "seconds": options.duration(),
    "rounds": options.rounds(),
  }
  found = measure(**settings)
  low, high = found["share_quartiles"]
  print(
    f"step: {found['step_seconds']:.3f} s, {found['operations'] / 1e9:.1f} "
    f"GFLOP, {found['step_rate'] / 1e9:.1f} GFLOP/s"
  )
  print(f"a product alone: {found['product_rate'] / 1e9:.1f} GFLOP/s")
  print(
    f"share reached: {found['share']:.0%}, quartiles {low:.0%} to {high:.0%}"
  )
  print(f"{'kind of op':28} {'s/step':>8} {'share':>6}")
  for row in found["kinds"]:
    print(f"{row['kind']:28} {row['seconds']:8.4f} {row['share']:6.0%}")
  if path:
    files.write_json(path, {**settings, **found})


if __name__ == "__main__":
  options.define_rounds(20)
  options.define_sound(list(conformer.SIZES), "tiny", 8.0)
  options.define_sizes(batch=8)
  cli.run("launch.benchmark roofline", main, verbosity=logging.WARNING)
