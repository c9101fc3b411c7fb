"""The examples in docstrings: they run, or they are marked as illustrations.

An example is a doctest under "Example:". A fenced block of code stands under
"Illustration:"; it parses, and needs what a test has not.
"""

import ast
import doctest
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
# Packages of extras without which a module's examples cannot run.
NEEDS = {
  "models.decoding.ngram": "kenlm",
  "tf_pcc.data.tts": "py_nanotts",
}


def docstrings():
  """All docstrings, without importing: [(module, line, text)]."""
  found = []
  for folder in ("tf_pcc", "models", "launch"):
    for path in sorted((ROOT / folder).rglob("*.py")):
      parts = path.relative_to(ROOT).with_suffix("").parts
      module = ".".join(parts).removesuffix(".__init__")
      for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node):
          line = getattr(node, "lineno", 1)
          found.append((module, line, ast.get_docstring(node)))
  return found


DOCSTRINGS = docstrings()
WITH_EXAMPLES = sorted({m for m, _, text in DOCSTRINGS if ">>> " in text})


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_run(module):
  if module in NEEDS:
    pytest.importorskip(NEEDS[module])
  result = doctest.testmod(importlib.import_module(module), optionflags=OPTIONS)
  assert result.attempted > 0
  assert result.failed == 0


def test_no_example_is_skipped():
  assert [where for *where, text in DOCSTRINGS if "+SKIP" in text] == []


def test_fenced_code_is_marked_and_parses():
  wrong = []
  for module, line, text in DOCSTRINGS:
    blocks = re.findall(r"```(?:python)?\n(.*?)```", text, re.DOTALL)
    marked = re.findall(
      r"Illustration:\n\n```python\n(.*?)```", text, re.DOTALL
    )
    if blocks != marked:
      wrong.append((module, line))
    for code in marked:
      ast.parse(code)
  assert wrong == []


def test_every_section_of_examples_has_one():
  wrong = [
    (module, line)
    for module, line, text in DOCSTRINGS
    if re.search(r"^Examples?:", text, re.MULTILINE) and ">>> " not in text
  ]
  assert wrong == []
