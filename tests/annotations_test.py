"""Public signatures state their types, as py.typed promises."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("tf_pcc", "models", "launch")


def is_public(name):
  return not name.startswith("_") or name in ("__init__", "__call__")


def public_functions(path):
  """Functions and methods of a file that have public names: [(node, name)]."""
  found = []

  def visit(body, prefix):
    for node in body:
      if isinstance(node, ast.ClassDef) and is_public(node.name):
        visit(node.body, f"{prefix}{node.name}.")
      if isinstance(node, ast.FunctionDef) and is_public(node.name):
        found.append((node, prefix + node.name))

  visit(ast.parse(path.read_text("utf-8")).body, "")
  return found


def parameters(node, name):
  """The arguments of a function, without self or cls."""
  of = node.args
  static = any(
    isinstance(d, ast.Name) and d.id == "staticmethod"
    for d in node.decorator_list
  )
  positional = [*of.posonlyargs, *of.args]
  if "." in name and not static:
    positional = positional[1:]
  others = [part for part in (of.vararg, of.kwarg) if part]
  return [*positional, *of.kwonlyargs, *others]


def unannotated(node, name):
  bare = [p.arg for p in parameters(node, name) if p.annotation is None]
  if node.returns is None and node.name != "__init__":
    bare.append("its result")
  return bare


@pytest.mark.parametrize("package", PACKAGES)
def test_public_signatures_state_their_types(package):
  bare = [
    f"{path.relative_to(ROOT)}:{node.lineno} {name}: {', '.join(missing)}"
    for path in sorted((ROOT / package).rglob("*.py"))
    for node, name in public_functions(path)
    if (missing := unannotated(node, name))
  ]
  assert bare == []


def test_what_states_nothing_is_found(tmp_path):
  path = tmp_path / "sample.py"
  path.write_text(
    "def bare(x, y: int, *rest, **options) -> int: ...\n"
    "def _private(x): ...\n"
    "class C:\n"
    "  def method(self, x: int): ...\n"
    "  @staticmethod\n"
    "  def static(x) -> int: ...\n"
  )
  found = {
    name: unannotated(node, name) for node, name in public_functions(path)
  }
  assert found == {
    "bare": ["x", "rest", "options"],
    "C.method": ["its result"],
    "C.static": ["x"],
  }
