"""The audit needs neither TensorFlow nor Keras, its plots only matplotlib."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

BLOCKED = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path, target=None):
    if name.split(".")[0] in {blocked}:
      raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
{code}
"""

AUDIT = """
import tf_pcc.audit as audit
plan = audit.make_plan(
  voices=[{"voice": "en"}], vocabulary=["BA", "RO", "LI", "TU"],
  repetitions=(1, 8), canaries_per_count=3, holdout=20)
def score(canaries):
  texts = [canary.text for canary in canaries]
  return audit.score_transcripts(texts, texts, range(len(texts)))
checkpoint = audit.AuditedCheckpoint(
  "run", 10, score(plan.canaries), score(plan.holdout), wer=0.1)
results = audit.audit_results(plan, [checkpoint])
"""
ALONE = f"""{AUDIT}
import sys
assert not {{"tensorflow", "keras"}} & set(sys.modules), "TensorFlow came along"
"""


def run(code, blocked):
  return subprocess.run(
    [sys.executable, "-c", BLOCKED.format(blocked=blocked, code=code)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_a_whole_audit_without_tensorflow(tmp_path):
  code = ALONE + f"audit.write_report({str(tmp_path)!r}, results)\n"
  done = run(code, {"tensorflow", "keras"})
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "report.html").is_file()


def test_a_report_without_matplotlib(tmp_path):
  code = ALONE + (
    f"audit.write_report({str(tmp_path)!r}, results, plots=False)\n"
    f"audit.write_report({str(tmp_path)!r}, results, overwrite=True)\n"
  )
  done = run(code, {"tensorflow", "keras", "matplotlib"})
  assert done.returncode != 0
  assert "ImportError" in done.stderr
  assert "tf_pcc[report]" in done.stderr
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "audit.json",
    "report.html",
    "scores.csv",
  ]


@pytest.mark.parametrize("name", ["jiwer"])
def test_error_rates_name_the_missing_package(name):
  done = run(ALONE, {"tensorflow", "keras", name})
  assert done.returncode != 0
  assert "tf_pcc[audit]" in done.stderr
