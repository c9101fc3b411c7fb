"""What no table can be made of is refused first."""

import math

import pytest

from launch.plan import job, tables
from tests.launch.plan import steps


def checked(table, given, config=None, **options):
  """`tables.check` as the program calls it, with other settings."""
  settings = job.Request(**options)
  return tables.check(table, given, config or steps.tiny(), settings)


@pytest.mark.parametrize(
  ("table", "given", "message"),
  [
    ("methods", {"topologies": ["v5e:2x2", "v5e:3x3"]}, "v5e:3x3"),
    (
      "methods",
      {"topologies": []},
      "--topologies must be some of v4.*topologies=$",
    ),
    ("methods", {"topologies": ["v5e:4x4"]}, "cores, 16 .*batch=8"),
    ("sizes", {"topologies": ["v5e:8x8"]}, "cores, 64 .*batch=8"),
    ("methods", {"methods": ["PCC", "QCC"]}, "APCC.*methods=PCC,QCC"),
    ("methods", {"methods": []}, "--methods must be some of none, PCC"),
    ("sizes", {"sizes": ["S", "XL"]}, "--sizes must be some of .*=S,XL"),
    ("sizes", {"sizes": []}, "--sizes must be some of tiny"),
    ("methods", {"blocks": ["02", "2"]}, "blocks=02,2"),
    ("methods", {"blocks": ["0", "2"]}, "blocks=0,2"),
    ("methods", {"blocks": ["2"]}, "blocks=2"),
    ("methods", {"blocks": []}, "blocks=$"),
    ("sizes", {"blocks": ["-1", "x"]}, "blocks=-1,x"),
    ("cores", {"blocks": ["2", "4"]}, "for --table=methods or --table=sizes"),
    ("parameters", {"blocks": ["2", "4"]}, "Received: table=parameters, bl"),
    ("cores", {"topologies": ["v5e:2x2"]}, "--topologies is for"),
    ("sizes", {"methods": ["PCC"]}, "--methods is for --table=methods"),
    ("methods", {"largest": 1e6}, "--largest is for --table=parameters"),
    ("parameters", {"largest": math.nan}, "largest=nan"),
  ],
)
def test_what_cannot_be_is_refused_before_the_first_program(
  table, given, message
):
  with pytest.raises(ValueError, match=message):
    checked(table, given)


def test_configs_that_cannot_be():
  config = steps.tiny()
  # One utterance a core has no two parts.
  with pytest.raises(ValueError, match="(?i)microbatches"):
    checked("methods", {}, config)
  config.model = {"name": "lstm_ctc", "fields": {}}
  with pytest.raises(ValueError, match="model.name='lstm_ctc'"):
    checked("methods", {"methods": ["PCC"], "blocks": ["2", "4"]}, config)
  config.model.name = "none such"
  with pytest.raises(ValueError, match="must be one of .*'none such'"):
    checked("sizes", {}, config)


def test_what_can_be():
  assert checked("methods", {"topologies": ["v5e:2x2"]}) == []
  assert checked("sizes", {"blocks": ["4", "2"]}) == [4, 2]
  assert checked("sizes", {"topologies": ["v5e:8x8"]}, per_core_batch=3) == []
  assert checked("cores", {}) == checked("parameters", {"largest": 1e9}) == []
