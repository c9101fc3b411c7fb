"""Packages that `pip install tf_pcc` leaves out: imported, or named.

Training a Keras model of one's own needs none of them.
"""

import importlib
import types


def load(module: str, purpose: str, extra: str) -> types.ModuleType:
  """Imports a module that an extra of this package brings.

  Args:
    module: dotted name of the module.
    purpose: what needs it, the beginning of the message.
    extra: the extra of setup.cfg that brings it, or "" for a package that no
      extra brings.

  Returns:
    The module.

  Raises:
    ImportError: If it cannot be imported, in one sentence with the command
      that installs it.

  Example:
    >>> from tf_pcc import extras
    >>> extras.load("json", "Reading settings", "audit").loads("[1]")
    [1]
  """
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ImportError(missing(module, purpose, extra, error)) from error


def missing(module: str, purpose: str, extra: str, found: object) -> str:
  """The sentence that names a missing package and how to get it.

  Args:
    module: dotted name of the module.
    purpose: what needs it.
    extra: as for `load`.
    found: the error that says what is wrong.

  Returns:
    str.
  """
  package = module.partition(".")[0]
  wanted = f"'tf_pcc[{extra}]'" if extra else package.replace("_", "-")
  return f"{purpose} needs {package}: pip install {wanted}. Received: {found}"
