"""Times and weighs the forms of the transducer loss, with their gradients.

  python -m launch.benchmark transducer --json=transducer.json
  python -m launch.benchmark transducer --forms=fused,pruned --vocab=5000

All start from encoder and prediction outputs: the plain form makes all logits
and hands them to transducer_losses, the fused form never holds them, and the
pruned form makes those of --window columns a frame, after the loss of an
additive joint network that chooses the columns. The loss shown is that of the
paths it sums over. Peak memory is what a step adds to the resident memory of a
process of its own (Linux only). For the times the forms take turns in one
process, so that a busy machine slows them alike; CPU time is that of all
threads.
"""

import ctypes
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
from models.losses import (
  transducer_joint,
  transducer_loss,
  transducer_pruned,
  transducer_simple,
)
from tf_pcc import bars, files

FORMS = ("plain", "fused", "pruned")

# As the default of the family's training.
_SIMPLE_SCALE = 0.5

_FORMS = flags.DEFINE_list("forms", list(FORMS), "Those that are measured.")
_WINDOW = flags.DEFINE_integer(
  "window", 5, "Columns a frame of the pruned form.", lower_bound=2
)
_XLA = flags.DEFINE_bool("xla", False, "Compile the whole step.")
_PEAK_OF = flags.DEFINE_enum(
  "peak_of", None, FORMS, "Only weighs this form, as one of the processes does."
)


def chosen(names: Sequence[str]) -> list[str]:
  """The forms asked for, in the order of `FORMS`.

  Args:
    names: some of `FORMS`.

  Returns:
    list of str.

  Raises:
    ValueError: If a name is not known, or there is none.
  """
  if not names or not set(names) <= set(FORMS):
    raise ValueError(
      f"--forms must be some of {', '.join(FORMS)}. Received: "
      f"forms={','.join(names)}"
    )
  return [form for form in FORMS if form in names]


def make_step(
  form: str, sizes: Mapping[str, int], xla: bool
) -> Callable[[], float]:
  """A function that computes the mean loss and all its gradients once.

  Args:
    form: one of `FORMS`.
    sizes: dict of the integers batch, frames, labels, vocab, dim, hidden and
      window.
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
  # After the labels, which so are the same in all forms.
  if form == "pruned":
    inputs += [normal(dim, vocab), normal(dim, vocab), tf.zeros([vocab])]
  counts, lengths = tf.fill([batch], labels), tf.fill([batch], sizes["frames"])

  @tf.function(jit_compile=xla, autograph=False)
  def loss_and_gradients(encoder, prediction, *weights):
    inputs = [encoder, prediction, *weights]
    joint = transducer_joint.JointWeights(*weights[:5])
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      if form == "plain":
        logits = transducer_joint.joint_logits(encoder, prediction, joint)
        losses = transducer_loss.transducer_losses(
          tokens, counts, logits, lengths
        )
        # The tape holds what it needs; this name would hold them longer.
        del logits
        total = tf.reduce_mean(losses)
      elif form == "fused":
        losses = transducer_loss.fused_transducer_losses(
          tokens, counts, encoder, prediction, lengths, joint
        )
        total = tf.reduce_mean(losses)
      else:
        simple, losses = transducer_pruned.pruned_transducer_losses(
          tokens,
          counts,
          encoder,
          prediction,
          lengths,
          joint,
          transducer_simple.SimpleWeights(*weights[5:]),
          window=sizes["window"],
        )
        total = tf.reduce_mean(losses + _SIMPLE_SCALE * simple)
    return tf.reduce_mean(losses), tape.gradient(total, inputs)

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
  # The libraries' own memory, and the compiler's: that of a tiny step, and what
  # is given back after the first one. What stays of that one is counted.
  make_step(form, {name: min(size, 4) for name, size in sizes.items()}, xla)()
  step = make_step(form, sizes, xla)
  before = _memory("VmRSS")
  step()
  ctypes.CDLL(None).malloc_trim(0)
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
  forms: Sequence[str], sizes: Mapping[str, int], xla: bool, rounds: int
) -> dict[str, dict[str, Any]]:
  """Peak memory and times of some forms.

  Args:
    forms: of `FORMS`.
    sizes: as for `make_step`.
    xla: bool.
    rounds: int, steps of each form that are timed.

  Returns:
    dict from form to loss, peak_bytes, median_seconds, quartiles_seconds,
    median_cpu_seconds, and, but for the first, ratios to the first.
  """
  figures = {}
  for form in forms:
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
  steps = {form: make_step(form, sizes, xla) for form in forms}
  seconds, cpu_seconds = ({form: [] for form in forms} for _ in range(2))
  for form, step in steps.items():
    figures[form]["loss"] = step()
  for turn in bars.make(range(rounds), unit="round"):
    for form in forms if turn % 2 else forms[::-1]:
      # Once before, to take back and give back the memory of another form.
      steps[form]()
      start, cpu_start = time.perf_counter(), time.process_time()
      steps[form]()
      seconds[form].append(time.perf_counter() - start)
      cpu_seconds[form].append(time.process_time() - cpu_start)
  for form in forms:
    row = figures[form]
    row["median_seconds"] = statistics.median(seconds[form])
    row["quartiles_seconds"] = _quartiles(seconds[form])
    row["median_cpu_seconds"] = statistics.median(cpu_seconds[form])
    if form != forms[0]:
      # Of the same round, which a busy machine slows alike.
      of_rounds = np.divide(cpu_seconds[form], cpu_seconds[forms[0]])
      row["cpu_ratio"] = float(np.median(of_rounds))
      row["quartiles_cpu_ratio"] = _quartiles(of_rounds)
      row["memory_ratio"] = row["peak_bytes"] / figures[forms[0]]["peak_bytes"]
  return figures


def _quartiles(values):
  return np.quantile(values, [0.25, 0.75]).tolist()


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, forms = options.json_path(), chosen(_FORMS.value)
  sizes = {**options.sizes(), "window": _WINDOW.value}
  if _PEAK_OF.value:
    figures = {"peak_bytes": peak_bytes(_PEAK_OF.value, sizes, _XLA.value)}
  else:
    figures = measure(forms, sizes, _XLA.value, options.rounds())
    print(
      f"{'form':6} {'s/step':>8}   {'quartiles':16} {'CPU s/step':>10} "
      f"{'peak MiB':>9}  loss"
    )
    for form, row in figures.items():
      low, high = row["quartiles_seconds"]
      print(
        f"{form:6} {row['median_seconds']:8.3f}   {low:.3f} .. {high:.3f}   "
        f"{row['median_cpu_seconds']:10.3f} {row['peak_bytes'] / 2**20:9.0f}  "
        f"{row['loss']:.4f}"
      )
    for form in forms[1:]:
      row = figures[form]
      low, high = row["quartiles_cpu_ratio"]
      print(
        f"{form} / {forms[0]}: CPU time {row['cpu_ratio']:.2f} ({low:.2f} .. "
        f"{high:.2f}), memory {row['memory_ratio']:.2f}"
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
