"""What TensorFlow prints while it is imported is kept from the terminal."""

import contextlib
import importlib.machinery
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# From 2.19 on TensorFlow logs before it has read TF_CPP_MIN_LOG_LEVEL.
_NOISE = re.compile(
  rb"WARNING: All log messages before absl::InitializeLog|"
  rb"[IWE]\d{4} [\d:.]+ +\d+ \S+:\d+\]|"
  rb"\d{4}-\d\d-\d\d [\d:.]+: [IWE] |"
  rb"To enable the following instructions:"
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Drops log lines of C++ that are written to standard error in the block.

  All other lines are written when the block ends.
  """
  sys.stderr.flush()
  terminal = os.dup(2)
  with tempfile.TemporaryFile() as kept:
    os.dup2(kept.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(terminal, 2)
      os.close(terminal)
      kept.seek(0)
      for line in kept:
        if not _NOISE.match(line):
          os.write(2, line)


class QuietTensorFlow:
  """Imports TensorFlow under `quiet`, whoever asks for it first.

  It is to stand in sys.meta_path. Asking is left to others: the list of the
  programs does without TensorFlow.
  """

  def find_spec(
    self,
    name: str,
    path: Sequence[str] | None = None,
    target: ModuleType | None = None,
  ) -> ModuleSpec | None:
    """The specification of TensorFlow, whose loading is made quiet.

    Args:
      name: full name of a module.
      path: as of `importlib.abc.MetaPathFinder.find_spec`.
      target: as of `importlib.abc.MetaPathFinder.find_spec`.

    Returns:
      `ModuleSpec`; None for other modules.
    """
    if name != "tensorflow":
      return None
    sys.meta_path.remove(self)
    found = importlib.machinery.PathFinder.find_spec(name, path, target)
    if found is not None and found.loader is not None:
      load = found.loader.exec_module

      def load_quietly(module):
        with quiet():
          load(module)

      found.loader.exec_module = load_quietly
    return found
