"""Plans in words."""

import pytest

from launch.plan import job, report, topologies


@pytest.mark.parametrize(
  ("hours", "said"),
  [
    (0.0, "0 s"),
    (0.0001, "0.360 s"),
    (0.01, "36.0 s"),
    (0.25, "15.0 min"),
    (1.5, "1.50 h"),
    (1234.56, "1,234.6 h"),
  ],
)
def test_short_runs_have_digits(hours, said):
  run = job.Run(8, 1, hours, hours, hours)
  topology = topologies.parse("v5e:2x2")
  clipping = {"method": ""}
  found = job.Plan(topology, 2, {}, "", clipping, (), run, ())
  report_said = report.report(found)
  assert f"1 steps, {said}, " in report_said
  assert f"({said} at the roofl" in report_said
