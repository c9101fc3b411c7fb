"""Progress bars that a log file can hold."""

import sys
from typing import TYPE_CHECKING, Any

from tf_pcc import extras

if TYPE_CHECKING:
  from tqdm import tqdm

_SECONDS_IN_A_FILE = 30.0
_SECONDS_ON_A_TERMINAL = 0.1


def on_terminal() -> bool:
  """Whether standard error is one, where each redraw replaces the last."""
  return sys.stderr.isatty()


def interval() -> float:
  """Seconds between two redraws of a bar: many in a file, which keeps all."""
  return _SECONDS_ON_A_TERMINAL if on_terminal() else _SECONDS_IN_A_FILE


def make(*arguments: Any, **options: Any) -> "tqdm":
  """A `tqdm.tqdm` bar on standard error, redrawn every `interval()` seconds.

  Pass refresh=False to its `set_postfix` and `set_description`, or each call
  redraws it.

  Args:
    *arguments: of `tqdm.tqdm`.
    **options: of `tqdm.tqdm`.

  Returns:
    The bar.
  """
  every = interval()
  # tqdm has a thread that shows bars after maxinterval, whatever mininterval.
  bar = extras.load("tqdm", "A progress bar", "audit").tqdm
  return bar(
    *arguments, mininterval=every, maxinterval=max(every, 10.0), **options
  )
