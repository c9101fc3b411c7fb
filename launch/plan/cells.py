"""The figures of programs as cells of a Markdown table."""

from launch.plan import estimate


def row(found):
  """The figures of one program.

  Args:
    found: dict, of `planning.Planner.compile` or
      `launch.plan.extension.of_blocks`.

  Returns:
    dict: "needed", HBM in GiB, a cell; the rest numbers, None where the program
    does not compile: "parameters", "counted_flops", the compiler's "flops" and
    "bytes", "collectives", how many of them are "small", bytes all-"reduced",
    "seconds_to_compile"; "fits"; and all that was "found".
  """
  collectives = found.get("collectives_compiled", [])
  needed = found["memory"].get("needed")
  compiled = found["compiles"]
  return {
    "parameters": found["parameters"],
    # Of one that does not fit the complaint names a part only.
    "needed": ("" if compiled else "over ") * bool(needed) + gib(needed),
    "fits": found["fits"],
    "counted_flops": found["flops"],
    "flops": found.get("compiler_flops"),
    "bytes": found.get("compiler_bytes"),
    "collectives": len(collectives) if compiled else None,
    "small": estimate.small_collectives(collectives) if compiled else None,
    "reduced": sum(
      size for kind, size, _ in collectives if kind == "all-reduce"
    )
    if compiled
    else None,
    "seconds_to_compile": found["seconds_to_compile"],
    "found": found,
  }


def markdown(rows):
  """A table of rows with the same columns."""
  columns = list(rows[0])
  lines = [columns, ["---"] * len(columns)]
  lines += [[str(r[column]) for column in columns] for r in rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gib(size):
  """Bytes in GiB."""
  return "-" if size is None else f"{size / 2**30:.2f}"


def giga(value, unit=1e9, digits=3):
  """A number in units of a billion, or of another unit."""
  return "-" if value is None else f"{value / unit:.{digits}f}"


def more(value, base):
  """By how many percent a value is larger than another."""
  return "-" if None in (value, base) else f"{value / base - 1:+.2%}"


def less(figures, base, name):
  """A figure of one row less that of another, None where one is unknown."""
  if None in (figures[name], base[name]):
    return None
  return figures[name] - base[name]


def known(value):
  """A value as it is."""
  return "-" if value is None else value
