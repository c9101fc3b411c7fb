"""Times and weighs the two forms of the transducer loss, with their gradients.

  python -m launch.benchmark transducer --json=transducer.json

Both start from encoder and prediction outputs: the plain form makes all logits
and hands them to transducer_losses, the fused form never holds them. Peak
memory is what a step adds to the resident memory of a process of its own
(Linux only). For the times the forms take turns in one process, so that a busy
machine slows them alike.
"""

import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from launch import cli
from launch.benchmark import options
from launch.comparison import processes
from models.losses import transducer_joint, transducer_loss
from tf_pcc import bars, files

FORMS = ("plain", "fused")

_XLA = flags.DEFINE_bool("xla", False, "Compile the whole step.")
_PEAK_OF = flags.DEFINE_enum(
  "peak_of", None, FORMS, "Only weighs this form, as one of the processes does."
)


def make_step(
  form: str, sizes: Mapping[str, int], xla: bool
) -> Callable[[], float]:
  """A function that computes the mean loss and all its gradients once.

  Args:
    form: "plain" or "fused".
    sizes: dict of the integers batch, frames, labels, vocab, dim, hidden.
    xla: bool, whether it is compiled as a whole.

  Returns:
    function without arguments; the loss, float.
  """
  rng = np.random.default_rng(0)

  def normal(*shape):
    values = rng.normal(size=shape) / np.sqrt(shape[-2])
    return tf.constant(values.astype(np.float32))

  batch, labels, vocab = sizes["batch"], sizes["labels"], sizes["vocab"]
  dim, hidden = sizes["dim"], sizes["hidden"]
  inputs = [
    np.sqrt(sizes["frames"]) * normal(batch, sizes["frames"], dim),
    np.sqrt(labels + 1) * normal(batch, labels + 1, dim),
    normal(dim, hidden),
    normal(dim, hidden),
    tf.zeros([hidden]),
    normal(hidden, vocab),
    tf.zeros([vocab]),
  ]
  tokens = tf.constant(rng.integers(1, vocab, [batch, labels]), tf.int32)
  counts, lengths = tf.fill([batch], labels), tf.fill([batch], sizes["frames"])

  @tf.function(jit_compile=xla, autograph=False)
  def loss_and_gradients(encoder, prediction, *weights):
    inputs = [encoder, prediction, *weights]
    joint = transducer_joint.JointWeights(*weights)
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      if form == "plain":
        logits = transducer_joint.joint_logits(encoder, prediction, joint)
        losses = transducer_loss.transducer_losses(
          tokens, counts, logits, lengths
        )
        # The tape holds what it needs; this name would hold them longer.
        del logits
      else:
        losses = transducer_loss.fused_transducer_losses(
          tokens, counts, encoder, prediction, lengths, joint
        )
      loss = tf.reduce_mean(losses)
    return loss, tape.gradient(loss, inputs)

  loss_and_gradients.get_concrete_function(*inputs)

  def step():
    loss, gradients = loss_and_gradients(*inputs)
    for gradient in tf.nest.flatten(gradients):
      tf.reduce_sum(gradient).numpy()
    return float(loss)

  return step


def peak_bytes(form: str, sizes: Mapping[str, int], xla: bool) -> int:
  """What a step adds to this process's memory at most, in bytes.

  Args:
    form: as for `make_step`, and so are the others.
    sizes: dict.
    xla: bool.

  Returns:
    int.
  """
  # The libraries' and the compiler's own memory: that of a tiny step.
  make_step(form, {name: min(size, 4) for name, size in sizes.items()}, xla)()
  step = make_step(form, sizes, xla)
  before = _memory("VmRSS")
  pathlib.Path("/proc/self/clear_refs").write_text("5")
  step()
  step()
  return _memory("VmHWM") - before


def _memory(field):
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(field):
      return int(line.split()[1]) * 1024
  raise OSError(f"/proc/self/status must have {field}, as Linux's has")


def measure(
  sizes: Mapping[str, int], xla: bool, rounds: int
) -> dict[str, dict[str, Any]]:
  """Peak memory and times of both forms.

  Args:
    sizes: as for `make_step`.
    xla: bool.
    rounds: int, steps of each form that are timed.

  Returns:
    dict from form to loss, peak_bytes, median_seconds and quartiles_seconds.
  """
  figures = {}
  for form in FORMS:
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, "peak.json")
      arguments = [f"--{name}={size}" for name, size in sizes.items()]
      arguments += [f"--xla={xla}", f"--peak_of={form}", f"--json={path}"]
      processes.run(
        "launch.benchmark",
        ["transducer", *arguments],
        os.path.join(folder, "log"),
      )
      figures[form] = json.loads(pathlib.Path(path).read_text())
  steps = {form: make_step(form, sizes, xla) for form in FORMS}
  seconds = {form: [] for form in FORMS}
  for form, step in steps.items():
    figures[form]["loss"] = step()
  for turn in bars.make(range(rounds), unit="round"):
    for form in FORMS if turn % 2 else FORMS[::-1]:
      # Once before, to take back and give back the memory of the other form.
      steps[form]()
      start = time.perf_counter()
      steps[form]()
      seconds[form].append(time.perf_counter() - start)
  for form, values in seconds.items():
    figures[form]["median_seconds"] = statistics.median(values)
    figures[form]["quartiles_seconds"] = np.quantile(
      values, [0.25, 0.75]
    ).tolist()
  return figures


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, sizes = options.json_path(), options.sizes()
  if _PEAK_OF.value:
    figures = {"peak_bytes": peak_bytes(_PEAK_OF.value, sizes, _XLA.value)}
  else:
    figures = measure(sizes, _XLA.value, options.rounds())
    print(f"{'form':6} {'s/step':>8}   {'quartiles':16} {'peak MiB':>9}  loss")
    for form, row in figures.items():
      low, high = row["quartiles_seconds"]
      print(
        f"{form:6} {row['median_seconds']:8.3f}   {low:.3f} .. {high:.3f}   "
        f"{row['peak_bytes'] / 2**20:9.0f}  {row['loss']:.4f}"
      )
    plain, fused = (figures[form] for form in FORMS)
    print(
      f"fused / plain: time "
      f"{fused['median_seconds'] / plain['median_seconds']:.2f}, memory "
      f"{fused['peak_bytes'] / plain['peak_bytes']:.2f}"
    )
    figures = {"sizes": sizes, "xla": _XLA.value, "forms": figures}
  if path:
    files.write_json(path, figures)


if __name__ == "__main__":
  options.define_rounds(20)
  options.define_sizes(
    batch=8, frames=200, labels=50, vocab=256, dim=144, hidden=144
  )
  cli.run("launch.benchmark transducer", main)
