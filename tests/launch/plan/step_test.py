"""The record of a step, and its way through JSON."""

import dataclasses
import json

import pytest

from launch.plan import step
from tests.launch.plan import steps


def through_json(found):
  return step.from_json(json.loads(json.dumps(dataclasses.asdict(found))))


@pytest.mark.parametrize(
  "found",
  [
    steps.TRACED,
    steps.compiled(
      compiler=step.Compilation(None, {"temp": 3}, ("a", "b")),
      traffic=(step.Traffic("encoder", "MatMul", True, 2, 3.0, 1.0),),
    ),
    steps.crowded(3, 2, compiler=step.Compilation("RESOURCE_EXHAUSTED")),
    dataclasses.replace(
      steps.TRACED,
      rejected="no form",
      suspects={"strings": ("tf.A", "tf.B")},
      where={"tf.A": ("a (f.py:3)",)},
    ),
  ],
)
def test_json_brings_back_the_same(found):
  assert through_json(found) == found


def test_what_fits():
  assert steps.compiled(2, 3).fits and steps.compiled(3, 3).fits
  assert not steps.compiled(4, 3).fits and not steps.TRACED.fits
  assert not steps.crowded(2, 3).fits
  assert steps.compiled(2, 3).memory.spare == 1


@pytest.mark.parametrize(
  "change", [{"parameters": None}, {"colour": "red"}, {"memory": {"all": 3}}]
)
def test_other_fields_are_refused(change):
  value = dataclasses.asdict(steps.TRACED) | change
  if value["parameters"] is None:
    del value["parameters"]
  with pytest.raises(TypeError):
    step.from_json(value)
  with pytest.raises(TypeError):
    step.from_json([value])


def test_it_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    steps.TRACED.flops = 3
