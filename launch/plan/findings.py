"""What was found of a step, kept in a file, and what follows from it.

The compiler's own words and numbers are kept beside what is read from them, so
that a better reading needs no new compilation.
"""

import json
import pathlib

from absl import logging

from launch.plan import hlo
from tf_pcc import files

_PARTS = ("arguments", "temporaries", "code", "outputs")
_ALWAYS = (
  "parameters",
  "flops",
  "flops_by_layer",
  "collectives",
  "clip",
  "outside_scope",
  "suspects",
  "seconds_to_compile",
)
_COMPILED = ("compiler_flops", "compiler_bytes", "collectives_compiled")


def from_compiler(result):
  """What is kept of a compilation.

  Args:
    result: dict, of `launch.plan.environment.compile_for_tpu`.

  Returns:
    dict: "compiler", the compiler's sizes in bytes and the lines of its program
    that have collectives, or its complaint; "compiles", "error",
    "compiler_flops", "compiler_bytes", "compiler_memory" and
    "compiler_cpu_seconds", as in `launch.plan.planning.Planner.compile`.
  """
  error = result.get("error")
  found = {
    "compiler": {"error": error},
    "compiles": error is None,
    "error": error,
    "compiler_memory": result["peak_memory"],
    "compiler_cpu_seconds": result["cpu_seconds"],
  }
  if error is None:
    text = pathlib.Path(result["hlo"]).read_text()
    found["compiler"] = {
      "memory": result["memory"],
      "collectives": hlo.lines_with_collectives(text),
    }
    found["compiler_flops"] = result["flops"]
    found["compiler_bytes"] = result["bytes"]
  return found


def derive(found, available):
  """Adds what follows from what is kept.

  Args:
    found: dict; where it is older than "compiler", its sizes are taken as read
      then.
    available: int, bytes of HBM a core's program can use.

  Returns:
    dict, with "fits", "memory" and "collectives_compiled" as in
    `launch.plan.planning.Planner.compile`.

  Raises:
    KeyError: when something is missing.
  """
  kept = found.get("compiler", {})
  if not found["compiles"]:
    return {**found, "fits": False, **_complaint(found, kept.get("error"))}
  if "memory" in kept:
    memory = _memory(kept["memory"])
  else:
    memory = {part: found["memory"][part] for part in _PARTS}
  needed = sum(memory.values())
  found = {
    **found,
    "fits": needed <= available,
    "memory": memory | _needs(needed, available),
  }
  if "collectives" in kept:
    lines = "\n".join(kept["collectives"])
    found["collectives_compiled"] = [list(c) for c in hlo.collectives(lines)]
  return found


def _memory(sizes):
  return {
    "arguments": sizes["argument"],
    "temporaries": sizes["temp"],
    "code": sizes["generated_code"],
    "outputs": sizes["output"] - sizes["alias"],
  }


def _needs(needed, available):
  return {
    "needed": needed,
    "available": available,
    "spare": available - needed,
  }


def _complaint(found, error):
  named = hlo.memory_needed(error or found["error"] or "")
  if named is None:
    # Where only its first line was kept, the bytes were read from all of it.
    return {"memory": found["memory"] if error is None else {}}
  return {"error": found["error"].splitlines()[0], "memory": _needs(*named)}


def lasts(found):
  """Whether the same would be found again.

  Args:
    found: dict, of `derive`.

  Returns:
    bool: not when a compilation failed for another reason than the step and its
    size, which may have been this machine's.
  """
  return bool(found["compiles"] or found["rejected"] or found["memory"])


def read(path, available):
  """What a file keeps.

  Args:
    path: `pathlib.Path`.
    available: as of `derive`.

  Returns:
    dict, of `derive`, or None when there is no such file, when it is damaged,
    which is said, or when what it keeps may not last.
  """
  try:
    found = json.loads(path.read_text())
    found = derive(found, available)
    missing = [
      name
      for name in (*_ALWAYS, *(_COMPILED if found["compiles"] else ()))
      if name not in found
    ]
    if missing:
      raise KeyError(*missing)
    return found if lasts(found) else None
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    logging.warning(
      "%s is damaged (%s: %s) and will be made anew",
      path,
      type(error).__name__,
      error,
    )
    return None


def write(path, found):
  """Keeps what is known, whole or not at all."""
  files.write_json(str(path), found)
