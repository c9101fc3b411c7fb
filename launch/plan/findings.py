"""What was found of a step, kept in a file, and what follows from it.

The compiler's own words and numbers are kept beside what is read from them, so
that a better reading needs no new compilation.
"""

import dataclasses
import pathlib
from typing import Any

from absl import logging

from launch.plan import hlo, step, traffic
from tf_pcc import files

# Kinds of traffic, the largest; a step has hundreds.
_KEPT = 50


def compiled(traced: step.Step, result: dict[str, Any]) -> step.Step:
  """A traced step with what its compilation found.

  Args:
    traced: the step.
    result: of `launch.plan.environment.compile_for_tpu`.

  Returns:
    The step, without what `derive` adds.
  """
  error = result.get("error")
  found = dataclasses.replace(
    traced,
    compiles=error is None,
    error=error,
    compiler_memory=result["peak_memory"],
    compiler_cpu_seconds=result["cpu_seconds"],
    compiler=step.Compilation(error=error),
  )
  if error is not None:
    return found
  text = pathlib.Path(result["hlo"]).read_text()
  return dataclasses.replace(
    found,
    compiler_flops=result["flops"],
    compiler_bytes=result["bytes"],
    traffic=tuple(traffic.read(text)[:_KEPT]),
    compiler=step.Compilation(
      sizes=result["memory"],
      collectives=tuple(hlo.lines_with_collectives(text)),
    ),
  )


def derive(found: step.Step, available: int) -> step.Step:
  """Adds what follows from the compiler's words.

  Args:
    found: of `compiled`, or a step that was not compiled.
    available: bytes of HBM a core's program can use.

  Returns:
    The step with its memory, its collectives and one line of a complaint.

  Raises:
    KeyError: If one of the compiler's sizes is missing.
  """
  words = found.compiler
  if words is None:
    return found
  if words.error is not None:
    named = hlo.memory_needed(words.error)
    if named is None:
      return found
    return dataclasses.replace(
      found,
      error=words.error.splitlines()[0],
      memory=step.Memory(*named),
    )
  sizes = words.sizes
  parts = {
    "arguments": sizes["argument"],
    "temporaries": sizes["temp"],
    "code": sizes["generated_code"],
    # Results that replace an argument take no memory of their own.
    "outputs": sizes["output"] - sizes["alias"],
  }
  return dataclasses.replace(
    found,
    memory=step.Memory(sum(parts.values()), available, **parts),
    collectives_compiled=tuple(hlo.collectives("\n".join(words.collectives))),
  )


def lasts(found: step.Step) -> bool:
  """Whether the same would be found again.

  Not when a compilation failed for another reason than the step and its size:
  that may have been this machine's.

  Args:
    found: of `derive`.

  Returns:
    bool.
  """
  return bool(found.compiles or found.rejected or found.memory)


def read(path: pathlib.Path, available: int) -> step.Step | None:
  """What a file keeps.

  Args:
    path: of `write`.
    available: as of `derive`.

  Returns:
    The step, or None when there is no such file, when it is damaged, which is
    logged, or when what it keeps may not last.
  """
  try:
    found = derive(step.from_json(files.read_json(str(path))), available)
    return found if lasts(found) else None
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, TypeError) as error:
    logging.warning(
      "%s is damaged (%s: %s) and will be made again",
      path,
      type(error).__name__,
      error,
    )
    return None


def write(path: pathlib.Path, found: step.Step) -> None:
  """Keeps what is known, whole or not at all.

  Args:
    path: JSON file.
    found: what was found of a step.
  """
  files.write_json(str(path), dataclasses.asdict(found))
