"""Draws APCC's bound over the steps of a run, and what Adam makes of it.

  python -m examples.draw_rho RUN_DIRECTORY OUTPUT.png

RUN_DIRECTORY is a --workdir of launch.train with an adaptive bound. Undivided,
all updates are as large as the bound rho. Adam divides them by the root of its
second moments, an average of squares over the last 1 / (1 - beta_2) steps: of
rho squared, here. Where rho falls, that root
lies above it, and the step is too small by their ratio. Divided by rho the
second moments have nothing to remember.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from launch.runs import metrics
from tf_pcc import files
from tf_pcc.audit import figure_style, figures

BETAS = (0.98, 0.999)


def every_step(steps: ArrayLike, rho: ArrayLike) -> np.ndarray:
  """The bound of every step, straight in its logarithm between logged ones.

  Args:
    steps: array-like [k] of logged steps, ascending.
    rho: array-like [k], the bound at each.

  Returns:
    float64 array, the bound of steps 1 to the last; before the first logged
    step it is that of the first.
  """
  steps = np.asarray(steps, np.float64)
  every = np.arange(1, int(steps[-1]) + 1)
  return np.exp(np.interp(every, steps, np.log(rho)))


def root_of_second_moments(rho: ArrayLike, beta_2: float) -> np.ndarray:
  """What Adam divides updates of these sizes by.

  Args:
    rho: array-like [t], size of each step's update.
    beta_2: Adam's.

  Returns:
    float64 array [t], with Adam's correction of the start.
  """
  result, moment = [], 0.0
  for step, value in enumerate(np.asarray(rho, np.float64), 1):
    moment = beta_2 * moment + (1 - beta_2) * value**2
    result.append(np.sqrt(moment / (1 - beta_2**step)))
  return np.array(result)


def picture(lines: Sequence[Mapping[str, float]]) -> bytes:
  """Draws the lines of a metrics.jsonl.

  Args:
    lines: list of dicts with step and clip_bound; others are left out.

  Returns:
    The bytes of a PNG file.

  Raises:
    ValueError: If fewer than two lines have a bound above 0.
  """
  found = [
    (line["step"], line["clip_bound"])
    for line in lines
    if (line.get("clip_bound") or 0) > 0
  ]
  if len(found) < 2:
    raise ValueError(
      "RUN_DIRECTORY must be a run with an adaptive bound that has logged it "
      f"twice: --config.clipping.method=apcc. Received: {len(found)} bounds"
    )
  steps, rho = zip(*found)
  every = every_step(steps, rho)

  def paint(axes):
    axes.plot(steps, rho, color=figure_style.COLOURS[0], label="rho, the bound")
    for index, beta_2 in enumerate(BETAS, 1):
      axes.plot(
        np.arange(1, every.size + 1),
        root_of_second_moments(every, beta_2),
        color=figure_style.COLOURS[index],
        linestyle=figure_style.LINES[index],
        label=f"Adam divides by, beta_2 {beta_2:g}",
      )
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("size of an undivided update")

  return figures.draw(paint, size=(6.4, 3.9))


def main(arguments: Sequence[str]) -> None:
  if len(arguments) != 2:
    sys.exit(__doc__)
  run, output = arguments
  lines = metrics.read(run)
  files.write_bytes(pathlib.Path(output), picture(lines))


if __name__ == "__main__":
  main(sys.argv[1:])
