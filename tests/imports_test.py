"""Imports go from launch to models to tf_pcc, and never in a circle."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Each may import itself and those after it.
PACKAGES = ("launch", "models", "tf_pcc")


def modules():
  """Files of the packages by the name they are imported by."""
  found = {}
  for package in PACKAGES:
    for path in sorted((ROOT / package).rglob("*.py")):
      parts = path.relative_to(ROOT).with_suffix("").parts
      found[".".join(parts).removesuffix(".__init__")] = path
  return found


MODULES = modules()


def targets(node, known):
  """The modules of `known` that an import statement loads."""
  if isinstance(node, ast.Import):
    names = [alias.name for alias in node.names]
  elif isinstance(node, ast.ImportFrom) and not node.level:
    # A name may be a module of the package or something in its __init__.
    inner = [f"{node.module}.{alias.name}" for alias in node.names]
    names = [name if name in known else node.module for name in inner]
  else:
    names = []
  return [name for name in names if name in known]


def loaded(body, known):
  """What is imported while a module loads, not when a function is called."""
  found = []
  for node in body:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      found += targets(node, known)
    elif isinstance(node, ast.If):
      if ast.unparse(node.test) != "TYPE_CHECKING":
        found += loaded([*node.body, *node.orelse], known)
    elif isinstance(node, ast.Try):
      parts = [node.body, node.orelse, node.finalbody]
      parts += [handler.body for handler in node.handlers]
      found += loaded([inner for part in parts for inner in part], known)
  return found


def circle(graph):
  """Modules that import one another in a circle, [] where there is none."""
  done, path = set(), []

  def visit(name):
    if name in path:
      return [*path[path.index(name) :], name]
    if name in done:
      return []
    path.append(name)
    for other in graph[name]:
      if other != name and (found := visit(other)):
        return found
    path.pop()
    done.add(name)
    return []

  for name in graph:
    if found := visit(name):
      return found
  return []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_imported_from_a_package_before(package):
  before = PACKAGES[: PACKAGES.index(package)]
  wrong = []
  for name, path in MODULES.items():
    if name.partition(".")[0] == package:
      for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for other in targets(node, MODULES):
          if other.partition(".")[0] in before:
            wrong.append(f"{name} imports {other}")
  assert wrong == []


def test_there_is_no_circle():
  graph = {
    name: loaded(ast.parse(path.read_text("utf-8")).body, MODULES)
    for name, path in MODULES.items()
  }
  assert len(graph) > 200
  assert sum(map(len, graph.values())) > 500
  assert circle(graph) == []


def test_circles_are_found():
  assert circle({"a": ["b"], "b": ["c"], "c": []}) == []
  assert circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


def test_imports_of_all_forms_are_found():
  known = {"p", "p.a", "p.b", "p.c", "p.d", "p.e"}
  source = """
import p.a
from p import b, something
from p.c import name
if TYPE_CHECKING:
  from p import d
try:
  import other
except ImportError:
  from p import e
def f():
  from p import d
"""
  found = loaded(ast.parse(source).body, known)
  assert found == ["p.a", "p.b", "p", "p.c", "p.e"]
