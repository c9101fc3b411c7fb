"""What is known of a program from those of smaller models and other batches.

Compiling all blocks of a large encoder takes long where cores are few, and all
blocks are alike: what two programs need says what a third would.
"""


def of_blocks(programs, blocks):
  """A model of some blocks, on a line through two of fewer.

  Parameters and counted operations are exact; memory and bytes are not, since
  the compiler lays each program out anew.

  Args:
    programs: dict from two numbers of blocks to what
      `launch.plan.planning.Planner.compile` found of them.
    blocks: int.

  Returns:
    dict, of what `launch.plan.planning.Planner.compile` returns what tables
    need; "seconds_to_compile" is that of both. "compiles" is false, and there
    is no memory, when one of the two does not compile.
  """
  (few, first), (more, second) = sorted(programs.items())

  def line(low, high):
    return low + (high - low) * (blocks - few) / (more - few)

  found = {
    name: round(line(first[name], second[name]))
    for name in ("parameters", "flops")
  }
  found["seconds_to_compile"] = sum(
    p["seconds_to_compile"] for p in (first, second)
  )
  if not (first["compiles"] and second["compiles"]):
    return {**found, "compiles": False, "fits": False, "memory": {}}
  memory = {
    part: line(first["memory"][part], second["memory"][part])
    for part in ("arguments", "temporaries", "code", "outputs")
  }
  memory["needed"] = sum(memory.values())
  memory["available"] = second["memory"]["available"]
  sums = [_bytes(p["collectives_compiled"]) for p in (first, second)]
  collectives = sorted(second["collectives_compiled"], key=lambda c: c[1])
  kind, _, tensors = collectives.pop()
  # The gradients' grows with the model; the others do not.
  size = line(*sums) - _bytes(collectives)
  return {
    **found,
    "compiles": True,
    "fits": memory["needed"] <= memory["available"],
    "memory": memory,
    "compiler_flops": line(first["compiler_flops"], second["compiler_flops"]),
    "compiler_bytes": line(first["compiler_bytes"], second["compiler_bytes"]),
    "collectives_compiled": [*collectives, [kind, size, tensors]],
  }


def largest_batch(memory, batch):
  """The largest batch of a core, if temporaries grow with it in proportion.

  Args:
    memory: dict, of `launch.plan.planning.Planner.compile`.
    batch: int, that it is of.

  Returns:
    int, from 8 on in steps of 8; where no temporaries grow, `batch` or, when
    that does not fit, 0.
  """
  if not memory["temporaries"]:
    return batch if memory["needed"] <= memory["available"] else 0
  fixed = memory["needed"] - memory["temporaries"]
  room = (memory["available"] - fixed) / memory["temporaries"] * batch
  return max(int(room // 8 * 8 if room >= 8 else room), 0)


def _bytes(collectives):
  return sum(size for _, size, _ in collectives)
