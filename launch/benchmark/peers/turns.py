"""Two sides of a comparison, that they agree, and their times by turns."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_pcc import bars

# A turn is as many calls as take this long, so that the clock's ticks and what
# the other side left in the caches do not count.
_TURN_SECONDS = 0.1
_MOST_CALLS = 50
# Threads that wait for work spin for some milliseconds, at whose cost?
_PAUSE_SECONDS = 0.02


class Different(ValueError):
  """Two sides that should compute the same, and do not."""


@dataclasses.dataclass(frozen=True)
class Side:
  """What is timed of one package.

  Attributes:
    run: does the work once.
    plain: None, or the work that `run` is compared with on its own side: then
      the figure of a side is not its time, but that of run over that of plain.
    outputs: arrays that another side must agree with, or None where the two
      compute different things.
    note: what a reader should know of it.
  """

  run: Callable[[], Any]
  plain: Callable[[], Any] | None = None
  outputs: Sequence[np.ndarray] | None = None
  note: str = ""


def difference(ours: Side, peer: Side, tolerance: float) -> float | None:
  """By how much the outputs of two sides differ.

  Args:
    ours: one side.
    peer: the other.
    tolerance: largest difference that is allowed, over the largest value, or
      over 1 where that is smaller.

  Returns:
    float, the largest difference of all outputs, so measured; None where a
    side has no outputs.

  Raises:
    Different: If it is larger than allowed.
  """
  if ours.outputs is None or peer.outputs is None:
    return None
  worst = 0.0
  for mine, other in zip(ours.outputs, peer.outputs, strict=True):
    if mine.shape != other.shape:
      raise Different(
        "outputs must be equal. Received: shapes "
        f"{mine.shape} and {other.shape}"
      )
    scale = max(1.0, float(np.abs(mine).max(initial=0)))
    found = float(np.abs(mine - other).max(initial=0)) / scale
    # Python's max may drop NaN.
    worst = float(np.maximum(worst, found))
  if not worst <= tolerance:
    raise Different(
      f"outputs must be equal up to {tolerance}. Received: a difference of "
      f"{worst:.3g}"
    )
  return worst


def take(
  sides: Mapping[str, Side], rounds: int
) -> dict[str, dict[str, np.ndarray]]:
  """CPU and wall seconds of every side, all taking turns.

  Args:
    sides: dict from name to `Side`.
    rounds: int, turns of each.

  Returns:
    dict from name to dict from "cpu" and "wall", and "plain_cpu" and
    "plain_wall" where a side has a plain form, to float64 [rounds].
  """
  works = {(name, ""): side.run for name, side in sides.items()}
  works |= {
    (name, "plain_"): side.plain
    for name, side in sides.items()
    if side.plain is not None
  }
  calls = {key: _calls(work) for key, work in works.items()}
  times = {name: {} for name in sides}
  keys = list(works)
  for turn in bars.make(range(rounds), unit="round"):
    # Another first in every round: none always has the same neighbour.
    first = turn % len(keys)
    for name, kind in keys[first:] + keys[:first]:
      cpu, wall = _turn(works[name, kind], calls[name, kind])
      times[name].setdefault(f"{kind}cpu", []).append(cpu)
      times[name].setdefault(f"{kind}wall", []).append(wall)
  return {
    name: {kind: np.array(values) for kind, values in by_kind.items()}
    for name, by_kind in times.items()
  }


def _calls(work):
  """Calls of a turn; the first two trace and compile."""
  work()
  work()
  start = time.perf_counter()
  work()
  took = time.perf_counter() - start
  return min(_MOST_CALLS, max(1, math.ceil(_TURN_SECONDS / max(took, 1e-9))))


def _turn(work, calls):
  time.sleep(_PAUSE_SECONDS)
  if calls > 1:
    work()
  wall, cpu = time.perf_counter(), time.process_time()
  for _ in range(calls):
    work()
  cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
  return cpu / calls, wall / calls


def figures(
  ours: Mapping[str, np.ndarray], peer: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """The row of a peer.

  Args:
    ours: of one name, what `take` returned.
    peer: the same of the peer.

  Returns:
    dict of ours and theirs, medians: CPU seconds, or their ratio to those of
    the plain form; ratio, the median of ours over the peer's in the same round,
    its quartiles, and wall_ratio, the same by the clock.
  """
  found: dict[str, Any] = {}
  for kind in ("cpu", "wall"):
    mine, other = (_figure(times, kind) for times in (ours, peer))
    quartiles = np.quantile(mine / other, [0.25, 0.5, 0.75]).tolist()
    if kind == "wall":
      found["wall_ratio"] = quartiles[1]
      continue
    found |= {
      "ours": float(np.median(mine)),
      "theirs": float(np.median(other)),
      "unit": "times the plain step" if "plain_cpu" in ours else "CPU seconds",
      "ratio": quartiles[1],
      "quartiles": quartiles[::2],
    }
  return found


def _figure(times, kind):
  plain = times.get(f"plain_{kind}")
  return times[kind] if plain is None else times[kind] / plain
