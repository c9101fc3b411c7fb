"""audit.json: its schema, and readers of both of its forms."""

import copy
import json
import pathlib

import pytest

from tests.audit import report_test
from tf_pcc import audit
from tf_pcc.audit import reading

OLD = pathlib.Path(__file__).with_name("audit_format1.json")
plan, compared = report_test.plan, report_test.compared


@pytest.fixture(scope="module")
def validator():
  reason = "the extra [dev] is not installed"
  jsonschema = pytest.importorskip("jsonschema", reason=reason)
  kind = jsonschema.Draft202012Validator
  kind.check_schema(audit.schema())
  return kind(audit.schema())


def plain(value):
  return json.loads(json.dumps(value, allow_nan=False))


def test_what_is_written_is_as_the_schema_says(validator, compared, plan):
  validator.validate(plain(compared))
  single = report_test.checkpoint(plan, "another's", 0, None, loss=False)
  found = audit.audit_results(plan, [single], resamples=20)
  validator.validate(plain(found))


@pytest.mark.parametrize(
  ("change", "place"),
  [
    (lambda a: a.pop("canaries"), []),
    (lambda a: a.update(format=3), ["format"]),
    (lambda a: a.update(more=1), []),
    (lambda a: a["canaries"][0].update(inserted=1), ["canaries", 0]),
    (lambda a: a["checkpoints"].clear(), ["checkpoints"]),
    (lambda a: a["checkpoints"][0].update(wer=-0.1), ["checkpoints", 0, "wer"]),
    (
      lambda a: a["checkpoints"][1]["summary"]["rows"][0].pop("auc"),
      ["checkpoints", 1, "summary", "rows", 0],
    ),
    (
      lambda a: a["checkpoints"][0]["scores"]["holdout"].update(losses=["x"]),
      ["checkpoints", 0, "scores", "holdout", "losses", 0],
    ),
  ],
)
def test_the_schema_finds_what_is_wrong(validator, compared, change, place):
  value = copy.deepcopy(plain(compared))
  change(value)
  found = [list(e.absolute_path) for e in validator.iter_errors(value)]
  assert any(path[: len(place)] == place for path in found), found


def test_reads_back_what_was_written(tmp_path, compared):
  audit.write_report(tmp_path, compared, plots=False)
  assert audit.read_audit(tmp_path / "audit.json") == plain(compared)


def test_the_first_form_is_read_and_rendered(tmp_path, validator):
  old = audit.read_audit(OLD)
  assert old["format"] == 1 and "canaries" not in old
  assert not validator.is_valid(old)
  paths = audit.write_report(tmp_path, old, plots=False)
  assert [path.name for path in paths] == ["audit.json", "report.html"]
  assert json.loads((tmp_path / "audit.json").read_text("utf-8")) == old
  assert "pcc seed 0: step 100, WER 25.00%" in (
    tmp_path / "report.html"
  ).read_text("utf-8")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda a: a.update(format=reading.FORMAT + 1), "newer tf_pcc.*format=3"),
    (lambda a: a.update(format=True), "format=True"),
    (lambda a: a.pop("format"), "format=None"),
    (lambda a: a.pop("checkpoints"), "no checkpoints"),
    (lambda a: a.update(checkpoints=[]), "no checkpoints"),
    (lambda a: a.pop("plan"), "no plan"),
  ],
)
def test_what_is_no_audit_is_refused(tmp_path, change, message):
  value = json.loads(OLD.read_text("utf-8"))
  change(value)
  path = tmp_path / "audit.json"
  path.write_text(json.dumps(value))
  with pytest.raises(ValueError, match=message):
    audit.read_audit(path)
  path.write_text("[]")
  with pytest.raises(ValueError, match="audit.json is not as it was written"):
    audit.read_audit(path)
