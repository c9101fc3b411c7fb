"""Plans in words."""

import dataclasses

import pytest

from launch.plan import (
  estimate,
  feeding,
  job,
  largest_batch,
  planning,
  report,
  step,
  topologies,
)
from tests.launch.plan import steps

STOPPING = estimate.stopping(10, 0.25, 50_000_000)
RUN = job.RunEstimate(8, 1, 1.0, 4.0, 1.0, STOPPING)
TIME = estimate.StepTime(0.1, 0.1, 0.0, 0.1, 0.25, ("little",))


def plan_of(buckets=(), run=None, **changes):
  topology = topologies.parse("v5e:2x2")
  clipping = {"method": "pcc"}
  return job.Plan(
    topology, 2, {}, "float32", clipping, tuple(buckets), run, (), **changes
  )


def bucket(best=None):
  shape = planning.Shape(2, 16000, 10, 32)
  need = feeding.need(shape, topologies.parse("v5e:2x2"), TIME)
  return job.Bucket(1.0, shape, steps.compiled(), TIME, need, best)


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
  run = job.RunEstimate(8, 1, hours, hours, hours, STOPPING)
  told = report.report(plan_of(run=run))
  assert f"1 steps, {said}, " in told and f"({said} at the roofl" in told


def test_a_slice_is_named_with_its_hosts():
  told = report.report(plan_of())
  assert told.startswith(
    "v5e:2x2 (v5litepod-4): 4 chips, 1 host, 4 cores x 2 utterances, float32"
  )


def test_a_price():
  run = dataclasses.replace(RUN, cost=estimate.cost(4.0, 1.2))
  told = report.report(plan_of(run=run))
  assert "cost: 4.80 at 1.2 a chip-hour; spot 1.92 at 0.48, a guess" in told
  run = dataclasses.replace(RUN, cost=estimate.cost(4.0, 1.2, 0.5))
  assert "spot 2.00 at 0.5, without" in report.report(plan_of(run=run))
  assert "cost" not in report.report(plan_of(run=RUN))


def test_the_time_to_a_saved_checkpoint():
  told = report.report(plan_of(run=RUN))
  assert "checkpoint: 3.00 s of the 30 s" in told
  assert "10 steps a call 2.50 s, 50 MB at 100 MB/s, a guess, 0.500 s" in told
  assert "TOO LONG" not in told
  slow = dataclasses.replace(RUN, stopping=estimate.stopping(100, 0.3, 1))
  assert "TOO LONG: lower config.steps_per" in report.report(plan_of(run=slow))


def test_what_a_host_must_read():
  told = report.report(plan_of([bucket()]))
  # 8 utterances of 32,000 bytes in a quarter of a second.
  assert (
    "a host must read 32.0 utterances/s, 1.02 MB/s of 16-bit PCM; at the "
    "roofline 80.0 utterances/s"
  ) in told


@pytest.mark.parametrize(
  ("read", "said"),
  [
    (2_048_000.0, "reads 2.0 times what it must: the chips are the limit"),
    (512_000.0, "0.50 of what it must: input is the limit, a step takes 2.0"),
  ],
)
def test_what_is_the_limit(read, said):
  measured = feeding.Measured("records/a", read / 32000, read, 10.0)
  told = report.report(plan_of([bucket()], measured=measured))
  assert "measured here, records/a: " in told and said in told


@pytest.mark.parametrize(
  ("best", "said"),
  [
    ((40, 48, True), "largest batch of a core that fits: 40; 48 does not"),
    ((40, 80, False), "found to fit: 40; 80 does not, and between them noth"),
    ((40, None, False), "that was tried, and fits: 40"),
  ],
)
def test_the_largest_batch(best, said):
  found = bucket(largest_batch.Largest(*best))
  assert said in report.report(plan_of([found]))


def test_five_kinds_of_traffic_are_named():
  traffic = [
    step.Traffic(f"encoder/{n}", "MatMul", n == 1, 9 - n, 9e6 - n * 1e6, 4e6)
    for n in range(7)
  ]
  found = dataclasses.replace(bucket().step, traffic=tuple(traffic))
  told = report.report(plan_of([dataclasses.replace(bucket(), step=found)]))
  assert "      0.009 (0.004): 9 x MatMul of encoder/0\n" in told
  assert "      0.008 (0.004): 8 x MatMul of encoder/1, backward\n" in told
  assert "encoder/4" in told and "encoder/5" not in told
