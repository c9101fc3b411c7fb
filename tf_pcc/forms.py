"""What a value of JSON must be like, stated as a type.

Files that a program reads back may be empty, cut, edited or another program's.
A dataclass says which fields it needs, and this what is wrong with a value.
"""

import dataclasses
import math
import types
import typing
from typing import Any

_WORDS = {
  bool: "true or false",
  int: "a whole number",
  float: "a finite number",
  str: "a string",
  type(None): "null",
}
_LARGEST = 2**63


def mismatch(value: Any, form: Any, where: str = "it") -> str | None:
  """What is wrong with a value.

  Example:

  >>> import dataclasses
  >>> from tf_pcc import forms
  >>> @dataclasses.dataclass
  ... class Part:
  ...   name: str
  ...   sizes: list[int]
  ...   note: str | None = None
  >>> forms.mismatch({"name": "a", "sizes": [1, 2]}, Part)
  >>> forms.mismatch({"name": "a", "sizes": [1, "2"]}, Part)
  "it.sizes[1] must be a whole number, not '2'"

  Args:
    value: what `json.loads` makes.
    form: `Any`, bool, int, float, str, None, a list[...], a tuple[...] of fixed
      length, a dict[str, ...], a union of these, or a dataclass of them. An
      object may have more fields than the dataclass, and lack those that have
      defaults.
    where: the value's name.

  Returns:
    str, None where nothing is wrong.
  """
  origin, arguments = typing.get_origin(form), typing.get_args(form)
  if form is Any:
    return None
  if dataclasses.is_dataclass(form):
    return _fields(value, form, where)
  if origin in (typing.Union, types.UnionType):
    found = [mismatch(value, each, where) for each in arguments]
    return None if None in found else found[0]
  if origin is dict:
    if not isinstance(value, dict):
      return _not(value, "an object", where)
    parts = ((f"{where}[{k!r}]", v, arguments[1]) for k, v in value.items())
  elif origin in (list, tuple):
    if not isinstance(value, list):
      return _not(value, "a list", where)
    forms = arguments * len(value) if origin is list else arguments
    if len(forms) != len(value):
      return _not(value, f"a list of {len(forms)}", where)
    parts = ((f"{where}[{i}]", v, forms[i]) for i, v in enumerate(value))
  else:
    kind = type(None) if form is None else form
    return None if _is(value, kind) else _not(value, _WORDS[kind], where)
  return next(filter(None, (mismatch(v, f, w) for w, v, f in parts)), None)


def _fields(value, form, where):
  if not isinstance(value, dict):
    return _not(value, "an object", where)
  hints = typing.get_type_hints(form)
  for field in dataclasses.fields(form):
    if field.name in value:
      name = f"{where}.{field.name}"
      found = mismatch(value[field.name], hints[field.name], name)
      if found:
        return found
    elif (
      field.default is dataclasses.MISSING
      and field.default_factory is dataclasses.MISSING
    ):
      return f"{where} lacks {field.name}"
  return None


def _is(value, kind):
  if kind is float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) < math.inf
  if kind is int:
    return type(value) is int and abs(value) < _LARGEST
  return isinstance(value, kind)


def _not(value, what, where):
  shown = repr(value)
  shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
  return f"{where} must be {what}, not {shown}"
