"""Seed by seed, with looks at the claims."""

import types

import pytest

from launch.comparison import claims, looks
from tests.launch.comparison.claims_test import METHODS, SHIFTS, last_of
from tf_pcc.audit import sequential


def _jobs(seeds):
  return [
    types.SimpleNamespace(seed=seed, method=method)
    for seed in range(seeds)
    for method in METHODS
  ]


def _run_to_looks(seeds, until_decided, shifts, done=()):
  """(jobs taken, names of the runs in order): what is done takes no run."""
  ran = []

  def run_jobs(jobs):
    ran.extend(
      (j.method, j.seed) for j in jobs if (j.method, j.seed) not in done
    )

  def verdicts_of(jobs):
    count = len({job.seed for job in jobs})
    found = claims.endpoints(last_of(count, shifts), "batch", "batch")
    return sequential.decide(found)[-1]

  taken = looks.run_to_looks(_jobs(seeds), run_jobs, verdicts_of, until_decided)
  return taken, ran


def test_seed_by_seed_until_all_is_decided(capsys):
  decided = {"batch": 0.0, "pcc": -1.0, "apcc": -1.0}
  taken, ran = _run_to_looks(10, True, decided)
  assert ran == [(m, s) for s in range(5) for m in METHODS]
  assert len(taken) == 15
  assert "look at 5 seeds" in capsys.readouterr().out
  taken, ran = _run_to_looks(10, True, SHIFTS)
  assert len(taken) == len(ran) == 30
  printed = capsys.readouterr().out
  assert "look at 10 seeds, level 0.045" in printed
  assert "less since 5 seeds" in printed
  # A number of seeds goes on past a look, and a look is printed all the same.
  taken, ran = _run_to_looks(7, False, decided)
  assert len(taken) == len(ran) == 21
  assert "look at 5 seeds" in capsys.readouterr().out


def test_stopped_it_goes_on_with_what_is_left():
  done = [(m, s) for s in range(3) for m in METHODS]
  _, ran = _run_to_looks(5, False, SHIFTS, done)
  assert ran == [(m, s) for s in (3, 4) for m in METHODS]


def test_how_many_seeds():
  assert looks.seeds_wanted(None, 3) == (3, False)
  assert looks.seeds_wanted("8", 3) == (8, False)
  assert looks.seeds_wanted("decided", 3) == (10, True)
  for bad in ("0", "-1", "soon", "2.5"):
    with pytest.raises(ValueError, match=f"--until.*until={bad}"):
      looks.seeds_wanted(bad, 3)
