"""Times the CTC loss and its gradient against TensorFlow's own.

  python -m launch.benchmark ctc --json=ctc.json

Both get the same logits, which prefer the blank as an untrained output layer
does, and take turns in one process, so that a busy machine slows them alike.
Their losses are printed too: beyond about 700 nats TensorFlow's may be wrong.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from launch import cli
from launch.benchmark import options, untrained
from models.losses import ctc_loss
from tf_pcc import bars, files


def tensorflows(
  labels: tf.Tensor,
  label_length: tf.Tensor,
  logits: tf.Tensor,
  length: tf.Tensor,
) -> tf.Tensor:
  """TensorFlow's own CTC loss, called like `models.losses.ctc_loss.ctc_losses`.

  Args:
    labels: int32 [B, U].
    label_length: int32 [B].
    logits: float [B, T, V].
    length: int32 [B], frames.

  Returns:
    float32 [B].
  """
  return tf.nn.ctc_loss(
    labels, logits, label_length, length, logits_time_major=False, blank_index=0
  )


LOSSES = {"tf.nn.ctc_loss": tensorflows, "ctc_losses": ctc_loss.ctc_losses}


def make_step(
  function: Callable[..., tf.Tensor], sizes: Mapping[str, int]
) -> Callable[[], float]:
  """A function that computes the losses and their gradient once.

  Args:
    function: one of `LOSSES`.
    sizes: dict of the integers batch, frames, labels and vocab.

  Returns:
    function without arguments; the mean loss, float.
  """
  logits, labels, length, label_length = map(
    tf.constant, untrained.batch(sizes)
  )

  @tf.function(autograph=False)
  def losses_and_gradient(logits):
    with tf.GradientTape() as tape:
      tape.watch(logits)
      losses = function(labels, label_length, logits, length)
    return losses, tape.gradient(losses, logits)

  def step():
    losses, gradient = losses_and_gradient(logits)
    tf.reduce_sum(gradient).numpy()
    return float(tf.reduce_mean(losses))

  return step


def measure(sizes: Mapping[str, int], rounds: int) -> dict[str, dict[str, Any]]:
  """Times of both losses.

  Args:
    sizes: as for `make_step`.
    rounds: int, steps of each that are timed.

  Returns:
    dict from a name in `LOSSES` to loss, median_seconds, and the ratio of the
    first one's time to its own in the same round with quartiles.
  """
  steps = {name: make_step(loss, sizes) for name, loss in LOSSES.items()}
  # The first step traces.
  figures = {name: {"loss": step()} for name, step in steps.items()}
  seconds = {name: [] for name in steps}
  for _ in bars.make(range(rounds), unit="round"):
    for name, step in steps.items():
      start = time.perf_counter()
      step()
      seconds[name].append(time.perf_counter() - start)
  first = np.array(next(iter(seconds.values())))
  for name, values in seconds.items():
    ratios = first / np.array(values)
    figures[name]["median_seconds"] = statistics.median(values)
    figures[name]["times_as_fast"] = float(np.median(ratios))
    figures[name]["quartiles"] = np.quantile(ratios, [0.25, 0.75]).tolist()
  return figures


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, sizes = options.json_path(), options.sizes()
  figures = measure(sizes, options.rounds())
  print(f"{'loss':15} {'s/step':>8} {'times as fast':>14}   quartiles  nats")
  for name, row in figures.items():
    low, high = row["quartiles"]
    print(
      f"{name:15} {row['median_seconds']:8.3f} {row['times_as_fast']:14.1f}   "
      f"{low:.1f} .. {high:.1f}  {row['loss']:.2f}"
    )
  if path:
    files.write_json(path, {"sizes": sizes, "losses": figures})


if __name__ == "__main__":
  options.define_rounds(10)
  options.define_sizes(batch=8, frames=420, labels=100, vocab=1024)
  cli.run("launch.benchmark ctc", main)
