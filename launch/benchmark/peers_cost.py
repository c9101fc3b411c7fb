"""Times this package against others that do the same.

  python -m launch.benchmark peers --setup
  python -m launch.benchmark peers --json=peers.json
  python -m launch.benchmark peers --rows=ctc_desk,transducer

--setup installs the others once, some 5 GB in a folder of their own (see
launch/benchmark/peers/packages.py); a peer that is not there has a line that
says so. Both sides live in one process, on two cores, and take turns, so that a
busy machine slows them alike. What should compute the same is compared before
it is timed. Figures are CPU time of all threads; a ratio below 1 says that this
package is faster.
"""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import flags, logging

from launch import cli
from launch.benchmark import options
from launch.benchmark.peers import (
  conformers,
  fbank,
  losses,
  packages,
  per_example,
  turns,
)
from tf_pcc import files

_CORES = 2


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One work, by this package and by others.

  Attributes:
    work: what is done, for a reader.
    ours: makes this package's side.
    peers: what makes the others', by name.
    settings: arguments of all of them.
    tolerance: by how much outputs may differ.
  """

  work: str
  ours: Callable[..., turns.Side]
  peers: Mapping[str, Callable[..., turns.Side]]
  settings: Mapping[str, Any]
  tolerance: float = 0.0


def _conformer(size):
  return Comparison(
    f"training step, Conformer CTC {size}, 8 x 8 s",
    conformers.ours,
    {
      "PyTorch twin": conformers.twin,
      "torchaudio Conformer": conformers.torchaudios,
      "TensorFlowASR Conformer": conformers.tensorflow_asrs,
    },
    {"size": size, "utterances": 8, "seconds": 8.0},
    conformers.TOLERANCE,
  )


def _ctc(batch, frames, labels, vocab):
  return Comparison(
    f"CTC, {batch} x {frames} frames, {labels} labels of {vocab}",
    functools.partial(losses.ours, "ctc"),
    {
      "torch.nn.CTCLoss": functools.partial(losses.torchs, "ctc"),
      "optax.ctc_loss, jit": functools.partial(losses.optaxs, "ctc"),
    },
    {"batch": batch, "frames": frames, "labels": labels, "vocab": vocab},
    losses.TOLERANCE,
  )


COMPARISONS = {
  "conformer_S": _conformer("S"),
  "conformer_tiny": _conformer("tiny"),
  "ctc_pieces": _ctc(8, 420, 100, 1024),
  "ctc_characters": _ctc(8, 420, 250, 32),
  "ctc_desk": _ctc(48, 60, 12, 256),
  "transducer": Comparison(
    "transducer loss, 8 x 200 frames, 50 labels of 256",
    functools.partial(losses.ours, "transducer"),
    {"torchaudio rnnt_loss": functools.partial(losses.torchs, "transducer")},
    {"batch": 8, "frames": 200, "labels": 50, "vocab": 256},
    losses.TOLERANCE,
  ),
  "per_example": Comparison(
    "clipping every example, Conformer tiny, 8 x 8 s",
    per_example.ours,
    {"opacus, flat": per_example.flat, "opacus, ghost": per_example.ghost},
    {"size": "tiny", "utterances": 8, "seconds": 8.0},
  ),
  "fbank": Comparison(
    "16-bit PCM on disk to log-mel, 64 x 8 s",
    fbank.ours,
    {"lhotse, on the fly": fbank.lhotses},
    {"utterances": 64, "seconds": 8.0, "batch": 16},
  ),
}


def chosen(names: Sequence[str] | None) -> dict[str, Comparison]:
  """The comparisons of these names.

  Args:
    names: list of str, or None for all.

  Returns:
    dict like `COMPARISONS`.

  Raises:
    ValueError: If there is no such comparison.
  """
  if names is None:
    return COMPARISONS
  # None at all is no name.
  options.require_rows(names or [""], COMPARISONS)
  return {name: COMPARISONS[name] for name in dict.fromkeys(names)}


def compare(
  name: str, comparison: Comparison, rounds: int
) -> list[dict[str, Any]]:
  """The rows of a comparison.

  Args:
    name: of the comparison.
    comparison: what is done.
    rounds: int, turns of each side.

  Returns:
    A dict for each peer: name, work, peer, and either what `turns.figures`
    gives with difference, of the outputs, and note, or missing, why there are
    no figures.
  """
  rows, sides = [], {}
  for peer, make in comparison.peers.items():
    row: dict[str, Any] = {"name": name, "work": comparison.work, "peer": peer}
    rows.append(row)
    try:
      side = make(**comparison.settings)
      if not sides:
        sides["ours"] = comparison.ours(**comparison.settings)
      row["difference"] = turns.difference(
        sides["ours"], side, comparison.tolerance
      )
      row["note"] = side.note
      sides[peer] = side
    except (packages.Missing, turns.Different) as error:
      row["missing"] = str(error)
  if sides:
    times = turns.take(sides, rounds)
    for row in rows:
      if row["peer"] in times:
        row |= turns.figures(times["ours"], times[row["peer"]])
  return rows


def _limit_threads():
  """Two cores for everybody, and no GPU."""
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
  tf.config.threading.set_intra_op_parallelism_threads(_CORES)
  tf.config.threading.set_inter_op_parallelism_threads(_CORES)
  tf.config.set_visible_devices([], "GPU")
  # Before PyTorch and JAX are imported. Threads that wait do not spin, which
  # on a busy machine would count as the peer's CPU time.
  os.environ |= {"JAX_PLATFORMS": "cpu", "OMP_WAIT_POLICY": "PASSIVE"}
  warnings.filterwarnings("ignore", module=r"(torch|opacus|lhotse)\b")


def _line(row):
  start = f"{row['name']:15} {row['peer']:24}"
  if "missing" in row:
    return f"{start} not compared: {row['missing']}"
  low, high = row["quartiles"]
  return (
    f"{start} {row['ours']:9.4g} {row['theirs']:9.4g} {row['ratio']:6.2f}   "
    f"{low:.2f} .. {high:.2f}  {row['unit']}"
  )


def _define_flags():
  """Not when this is imported: other programs have flags of these names."""
  flags.DEFINE_list("rows", None, "Comparisons; default: all there are.")
  flags.DEFINE_bool("setup", False, "Installs the peers, and ends.")
  flags.DEFINE_string("environment", None, "Where the peers are installed.")


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  asked: Any = flags.FLAGS
  if asked.setup:
    print(f"ready: {packages.setup(asked.environment)}")
    return
  comparisons = chosen(asked.rows)
  path, rounds = options.json_path(), options.rounds()
  _limit_threads()
  packages.use(asked.environment)
  rows = []
  for name, comparison in comparisons.items():
    found = compare(name, comparison, rounds)
    print(f"{comparison.work}")
    for row in found:
      print(_line(row), flush=True)
    rows += found
  if path:
    versions = {
      name: packages.version(name)
      for name in (
        "tensorflow",
        *(p.partition("==")[0] for p in packages.PACKAGES),
      )
    }
    files.write_json(
      path, {"rounds": rounds, "versions": versions, "rows": rows}
    )


if __name__ == "__main__":
  options.define_rounds(10)
  _define_flags()
  cli.run("launch.benchmark peers", main, verbosity=logging.WARNING)
