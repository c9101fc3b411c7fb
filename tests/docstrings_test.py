"""The examples in docstrings: they run, or they are marked as illustrations.

An example is a doctest under "Example:". A fenced block of code stands under
"Illustration:"; it parses, and needs what a test has not.
"""

import ast
import doctest
import importlib
import pathlib
import re
import shlex

import pytest

from tests import readme_test

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


def commands():
  """The programs that docstrings start, as lists of words: [(module, words)].

  Not those with "..." or "REQUEST.json" in them, which are forms of a command,
  and not --help, which ends a program before it checks the rest.
  """
  lines = [
    (module, shlex.split(line, comments=True))
    for module, _, text in DOCSTRINGS
    for line in text.replace("\\\n", " ").splitlines()
    if line.strip().startswith("python -m launch")
  ]
  forms = {"...", "REQUEST.json", "--help"}
  return [(m, words) for m, words in lines if not forms & set(words)]


def test_commands_parse():
  found = commands()
  assert len(found) > 50
  assert readme_test.complaints([words for _, words in found]) == []


def test_every_program_shows_a_command():
  """--help prints the program's docstring, so an example is in it."""
  own = {module for module, words in commands() if module in " ".join(words)}
  programs = {
    f"launch.{path.stem}"
    for path in (ROOT / "launch").glob("*.py")
    if "flags.DEFINE" in path.read_text("utf-8")
  }
  assert programs - own - {"launch.cli"} == set()


# Every public function says in its docstring what each argument is, what it
# returns and, if it raises a ValueError itself, when. Exempt are properties,
# the programs' main and these methods of Keras, which it documents.
PACKAGES = ("launch", "models", "tf_pcc")
KERAS = {
  "build",
  "build_from_config",
  "call",
  "from_config",
  "get_build_config",
  "get_config",
}


def sections(text):
  return set(re.findall(r"^(\w+):$", text, re.MULTILINE))


def arguments(function):
  of = function.args
  names = [part.arg for part in [*of.posonlyargs, *of.args, *of.kwonlyargs]]
  return [name for name in names if name not in ("self", "cls")]


def public_functions(path):
  """Functions of public names and methods of public classes, of a file."""
  for node in ast.parse(path.read_text("utf-8")).body:
    kind = isinstance(node, (ast.ClassDef, ast.FunctionDef))
    if kind and not node.name.startswith("_"):
      body = node.body if isinstance(node, ast.ClassDef) else [node]
      for inner in body:
        if isinstance(inner, ast.FunctionDef) and inner.name[0] != "_":
          yield inner


def gaps(function):
  """What a function's docstring lacks."""
  text = ast.get_docstring(function) or ""
  decorators = [ast.unparse(d) for d in function.decorator_list]
  if any(d.endswith(("property", "setter")) for d in decorators):
    return []
  if not text:
    return [] if function.name in KERAS | {"main"} else ["a docstring"]
  lacks = []
  names = arguments(function)
  described = re.findall(r"^  \*{0,2}(\w+): ", text, re.MULTILINE)
  lacks += [name for name in names if name not in described]
  returns = function.returns and ast.unparse(function.returns) != "None"
  if names and returns and not sections(text) & {"Returns", "Yields"}:
    lacks.append("Returns")
  exempt = function.name in KERAS | {"main"}
  if raises_value_error(function) and "Raises" not in sections(text):
    lacks += [] if exempt else ["Raises"]
  return lacks


def raises_value_error(node):
  """Whether a function's own body raises one, not a function inside of it."""
  for inner in ast.iter_child_nodes(node):
    if isinstance(inner, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
      continue
    if isinstance(inner, ast.Raise) and inner.exc is not None:
      called = getattr(inner.exc, "func", inner.exc)
      if ast.unparse(called) == "ValueError":
        return True
    if raises_value_error(inner):
      return True
  return False


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_describe_arguments_and_results(package):
  lacking = [
    f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {lacks}"
    for path in sorted((ROOT / package).rglob("*.py"))
    for function in public_functions(path)
    if (lacks := gaps(function))
  ]
  assert lacking == []


def class_gaps(node):
  """What a class's docstring lacks of its arguments, fields and errors."""
  text = ast.get_docstring(node)
  if not text:
    return ["a docstring"]
  made = [f for f in node.body if getattr(f, "name", "") == "__init__"]
  names = [name for function in made for name in arguments(function)]
  if any("dataclass" in ast.unparse(d) for d in node.decorator_list):
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    names = [field.target.id for field in fields if field.target.id[0] != "_"]
  described = re.findall(r"^  \*{0,2}(\w+): ", text, re.MULTILINE)
  lacks = [name for name in names if name not in described]
  if any(map(raises_value_error, made)) and "Raises" not in sections(text):
    lacks.append("Raises")
  return lacks


def test_public_classes_describe_arguments_and_fields():
  lacking = [
    f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lacks}"
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    for node in ast.parse(path.read_text("utf-8")).body
    if isinstance(node, ast.ClassDef) and node.name[0] != "_"
    if (lacks := class_gaps(node))
  ]
  assert lacking == []


def test_a_lack_of_a_class_is_found():
  source = '''
class Plain:
  """Does it.

  Args:
    x: number.
  """
  def __init__(self, x, y):
    if x:
      raise ValueError("no")

@dataclasses.dataclass
class Fields:
  """Holds them.

  Attributes:
    a: number.
  """
  a: int
  b: int = 0
  _c: int = 0

class Bare: ...
'''
  plain, fields, bare = ast.parse(source).body
  assert class_gaps(plain) == ["y", "Raises"]
  assert class_gaps(fields) == ["b"]
  assert class_gaps(bare) == ["a docstring"]


def test_a_lack_is_found():
  source = '''
def whole(x: int) -> int:
  """Does it.

  Args:
    x: number.

  Returns:
    Another.
  """

def part(x: int, y: int) -> int:
  """Does it.

  Args:
    x: number.
  """

def bare(x: int) -> int: ...

def strict(x: int) -> None:
  """Checks it.

  Args:
    x: number.
  """
  def inner():
    raise TypeError
  if x:
    raise ValueError("no")
'''
  whole, part, bare, strict = ast.parse(source).body
  assert gaps(whole) == []
  assert gaps(part) == ["y", "Returns"]
  assert gaps(bare) == ["a docstring"]
  assert gaps(strict) == ["Raises"]


def test_raises_say_if():
  """As in Keras: `ValueError: If ...`."""
  wrong = [
    (module, line, entry)
    for module, line, text in DOCSTRINGS
    for block in re.findall(r"^Raises:\n((?: .*\n?)+)", text, re.MULTILINE)
    for entry in re.findall(r"^  (\S+: .*)", block, re.MULTILINE)
    if ": If " not in entry
  ]
  assert wrong == []
