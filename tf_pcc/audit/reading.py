"""audit.json as it is read: the newest form, older ones, and the schema."""

import os
import pathlib
from typing import Any

from tf_pcc import files

# 1: without tf_pcc and canaries. See audit.schema.json.
FORMAT = 2


def schema() -> dict[str, Any]:
  """The JSON schema (draft 2020-12) of what `audit_results` returns.

  Returns:
    A dict, of the file tf_pcc/audit/audit.schema.json.

  Example:

  >>> schema()["properties"]["format"]["const"]
  2
  """
  return files.read_json(
    pathlib.Path(__file__).with_name("audit.schema.json"),
    remedy="install tf_pcc again",
  )


def read_audit(path: str | os.PathLike) -> dict[str, Any]:
  """Reads an audit.json.

  Args:
    path: The file, of any format that was ever written.

  Returns:
    A dict as `audit_results` returns it. One of format 1 lacks "tf_pcc" and
    "canaries": it does not name the canaries.

  Raises:
    ValueError: If it is no audit.json, damaged, or of a newer format.
    OSError: If it cannot be read.
  """
  remedy = "run launch.audit with --overwrite again"
  found = files.read_json(path, remedy, dict[str, Any])
  form = found.get("format")
  if form not in range(1, FORMAT + 1) or isinstance(form, bool):
    raise ValueError(
      f"{os.fspath(path)} must be an audit.json of format 1 to {FORMAT}: "
      f"{remedy}, or read it with the newer tf_pcc that wrote it. "
      f"Received: format={form!r}"
    )
  missing = {"title", "notes", "plan", "checkpoints"} - set(found)
  if missing or not found["checkpoints"]:
    raise ValueError(
      f"{os.fspath(path)} must hold an audit with checkpoints: {remedy}. "
      f"Received: no {', '.join(sorted(missing)) or 'checkpoints'}"
    )
  return found
