"""Forms of JSON: what is wrong with a value, in words."""

import dataclasses
from typing import Any

import pytest

from tf_pcc import files, forms


@dataclasses.dataclass
class Part:
  size: int
  name: str = ""


@dataclasses.dataclass
class Whole:
  parts: list[Part]
  share: float | None = None
  places: dict[str, tuple[float, float]] = dataclasses.field(
    default_factory=dict
  )


@pytest.mark.parametrize(
  ("value", "form"),
  [
    *((v, Any) for v in (None, 1, [], {})),
    *((v, float) for v in (0, -1.5, 1e308)),
    *((v, float | None) for v in (None, 2)),
    *((v, list[int]) for v in ([], [1, -2])),
    ({"parts": []}, Whole),
    ({"parts": [{"size": 1, "unknown": 2}], "share": None, "x": 1}, Whole),
    ({"parts": [], "places": {"a": [1, 2.5]}}, Whole),
    (None, None),
  ],
)
def test_what_is_right(value, form):
  assert forms.mismatch(value, form) is None


@pytest.mark.parametrize(
  ("value", "form", "expected"),
  [
    (True, int, "it must be a whole number, not True"),
    (1.0, int, "it must be a whole number, not 1.0"),
    (2**63, int, f"it must be a whole number, not {2**63}"),
    (True, float, "it must be a finite number, not True"),
    (float("nan"), float, "it must be a finite number, not nan"),
    (float("inf"), float | None, "it must be a finite number, not inf"),
    (None, str, "it must be a string, not None"),
    ("x" * 99, int, f"it must be a whole number, not '{'x' * 59}..."),
    ({}, list[int], "it must be a list, not {}"),
    ([1, "2"], list[int], "it[1] must be a whole number, not '2'"),
    ([], Whole, "it must be an object, not []"),
    ({}, Whole, "it lacks parts"),
    ({"parts": [{}]}, Whole, "it.parts[0] lacks size"),
    ({"parts": [{"size": None}]}, Whole, "it.parts[0].size must be a whole"),
    ({"parts": [], "share": "1"}, Whole, "it.share must be a finite"),
    ({"parts": [], "places": []}, Whole, "it.places must be an object"),
    (
      {"parts": [], "places": {"a": [1]}},
      Whole,
      "it.places['a'] must be a list of 2, not [1]",
    ),
  ],
)
def test_what_is_wrong(value, form, expected):
  assert forms.mismatch(value, form).startswith(expected)


def test_a_file_of_another_form_is_named_with_a_remedy(tmp_path):
  path = tmp_path / "a.json"
  path.write_text('{"parts": 3}')
  with pytest.raises(ValueError, match="a.json is not .*: make.*parts must be"):
    files.read_json(path, "make it again", Whole)
  assert files.read_json(path) == {"parts": 3}
