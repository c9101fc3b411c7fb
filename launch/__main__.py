"""Lists the programs of this folder: python -m launch."""

import ast
import pathlib

_FOLDER = pathlib.Path(__file__).resolve().parent
# In the order in which a newcomer needs them.
PROGRAMS = (
  "train",
  "evaluate",
  "transcribe",
  "export",
  "inspect",
  "prepare",
  "vocabulary",
  "make_canaries",
  "audit",
  "compare",
  "plan",
  "benchmark",
)


def summary(program: str) -> str:
  """What a program does: the first line of its docstring.

  The file is parsed, not imported, so that TensorFlow does not start.

  Args:
    program: one of `PROGRAMS`.

  Returns:
    A sentence.
  """
  path = _FOLDER / f"{program}.py"
  if not path.exists():
    path = _FOLDER / program / "__main__.py"
  docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
  return docstring.partition("\n")[0]


def main() -> None:
  width = max(map(len, PROGRAMS))
  for program in PROGRAMS:
    print(f"python -m launch.{program:{width}}  {summary(program)}")
  print(
    "\nEach one takes --help. README.md lists the guides, among them "
    "launch/data.md for\nyour own data, launch/audit.md for what is memorized, "
    "launch/serve.md for a trained\nmodel and launch/tpu.md for Cloud TPU. "
    "launch/configs/base.py explains the fields\nof an experiment."
  )


if __name__ == "__main__":
  main()
