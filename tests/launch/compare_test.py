"""launch.compare: what is trained, resumed and reported."""

import dataclasses
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from launch.comparison import (
  bound_files,
  training_jobs,
)
from launch.configs import base, desk_memorization
from launch.runs import saved_config
from tf_pcc.data import records
from tf_pcc.data.utterances import Utterance

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ("RIVER", "STONE", "CLOUD", "TABLE", "APPLE")

CONFIG = """
from launch.configs import base
METHODS = {{"running": {{"clipping.decay": 0.9}}}}
CHOICE = {{"steps": 4}}
BOUNDS = (0.5, 5.0)
QUICK = {{"steps": 6, "checkpoint_every": 3}}

def get_config():
  config = base.get_config()
  config.data.train = "{folder}/train"
  config.data.validation = "{folder}/test"
  config.data.test = "{folder}/test"
  config.data.cache = "{folder}/cache"
  config.batch, config.steps, config.cores = 6, 4000, 1
  config.log_every, config.checkpoint_every, config.keep_checkpoints = 1, 9, 0
  config.tokenizer.kind = "word"
  config.model.fields = {{
    "encoder": {{"dim": 16, "blocks": 1, "heads": 2, "kernel": 3}},
    "features": {{"mels": 16}},
  }}
  config.clipping.microbatches = 3
  config.canaries.insert = True
  config.canaries.repetitions = (1, 4)
  config.canaries.per_count = 4
  config.canaries.holdout = 20
  return config
"""


@pytest.fixture
def config_file(tmp_path):
  random = np.random.default_rng(0)
  for name, count in (("train", 24), ("test", 6)):
    pairs = [
      (
        Utterance(f"{name}-{i}", "", " ".join(random.choice(WORDS, 2))),
        random.uniform(-0.3, 0.3, 8000).astype(np.float32),
      )
      for i in range(count)
    ]
    records.write_records(pairs, tmp_path / name, progress=False)
  path = tmp_path / "laboratory.py"
  path.write_text(CONFIG.format(folder=tmp_path))
  return path


def _settings(path, directory, overrides=None, quick=False, **changes):
  config = desk_memorization.get_config() if path is None else base.get_config()
  config.canaries.insert, config.keep_checkpoints = True, 0
  config.update(changes)
  if path is None:
    path = desk_memorization.__file__
  return training_jobs.Settings(
    str(path), config, overrides or {}, str(directory), quick
  )


def test_a_job_is_the_config_with_all_its_overrides(config_file, tmp_path):
  overrides = {"clipping.decay": 0.5, "clipping.microbatches": 3}
  settings = _settings(config_file, tmp_path, overrides, quick=True)
  plain = settings.job("pcc", 3, bound=1.5)
  assert plain.config.clipping.method == "pcc" and plain.config.seed == 3
  assert plain.config.clipping.bound == 1.5
  assert plain.config.steps == 6 and plain.config.checkpoint_every == 3
  assert plain.config.clipping.microbatches == 3
  # What clips no core takes no micro-batches.
  assert settings.job("none", 3).config.clipping.microbatches == 1
  # The command line goes over the method's own.
  own = _settings(config_file, tmp_path)
  assert own.job("running", 3).config.clipping.decay == 0.9
  assert settings.job("running", 3).config.clipping.decay == 0.5
  given = dict(a[2:].split("=", 1) for a in plain.arguments)
  assert given["config"] == str(config_file)
  assert given["config.clipping.method"] == "pcc"
  assert given["config.clipping.bound"] == "1.5"
  assert given["config.steps"] == "6" and given["config.seed"] == "3"
  directories = {
    settings.job(m, s).directory for m in ("none", "pcc") for s in (0, 1)
  }
  assert len(directories) == 4


def test_a_config_may_take_an_argument(config_file, tmp_path):
  settings = _settings(f"{config_file}:S", tmp_path, quick=True)
  job = settings.job("pcc", 0)
  assert job.config.steps == 6
  assert job.arguments[0] == f"--config={config_file}:S"


def test_trials_have_no_canaries_and_another_seed(config_file, tmp_path):
  settings = _settings(config_file, tmp_path)
  trials = settings.trials(["pcc", "batch"])
  assert list(trials) == ["pcc", "batch"]
  for method, jobs in trials.items():
    assert [j.config.clipping.bound for j in jobs] == [0.5, 5.0]
    for job in jobs:
      assert job.config.clipping.method == method and job.config.steps == 4
      assert not job.config.canaries.insert and job.config.seed == 1000
  assert settings.config.canaries.insert


def test_laboratory_clips_many_small_units(tmp_path):
  settings = _settings(None, tmp_path)
  for quick in (False, True):
    settings = _settings(None, tmp_path, quick=quick)
    for method in ("pcc", "apcc", "running"):
      config = settings.job(method, 0).config
      assert config.batch == 2 * config.cores * config.clipping.microbatches
    assert settings.job("batch", 0).config.clipping.microbatches == 1
  config = _settings(None, tmp_path).job("pcc", 0).config
  assert config.clipping.microbatches * config.cores >= 16
  seen = config.steps * config.batch
  assert 0.95 < seen / config.data.utterances["train"] < 1.05


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"keep_checkpoints": 2}, "keep_checkpoints must be 0"),
    ({"canaries": {"insert": False}}, "canaries.insert must be True"),
  ],
)
def test_what_cannot_be_compared_is_refused(
  config_file, tmp_path, changes, message
):
  with pytest.raises(ValueError, match=message):
    _settings(config_file, tmp_path, **changes).job("pcc", 0)


def _trained(job, monkeypatch):
  """The directory of a job as launch.train leaves it, by its command line."""
  argv = ["train", *job.arguments]
  monkeypatch.setattr(sys, "argv", argv)  # Where ml_collections looks, too.
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", flag_values=values)
  values(argv)
  saved_config.save_config(job.directory, values.config)


@pytest.mark.parametrize("quick", [False, True])
def test_a_run_of_other_settings_is_never_reused(
  config_file, tmp_path, monkeypatch, quick
):
  settings = _settings(config_file, tmp_path, quick=quick)
  settings = dataclasses.replace(
    settings, config=runpy.run_path(str(config_file))["get_config"]()
  )
  jobs = [settings.job(m, 3) for m in ("none", "running")]
  jobs += [settings.job("pcc", 3, bound=1.5), *settings.trials(["pcc"])["pcc"]]
  for job in jobs:
    job.check()  # Nothing is there yet.
    _trained(job, monkeypatch)
    job.check()
  with pytest.raises(ValueError, match="clipping.bound: 1.5 there, 2.0 now"):
    settings.job("pcc", 3, bound=2.0).check()
  other = dataclasses.replace(settings, overrides={"batch": 12})
  with pytest.raises(ValueError, match="batch: 6 there, 12 now"):
    other.job("none", 3).check()
  longer = dataclasses.replace(settings, overrides={"steps": 5})
  with pytest.raises(ValueError, match="steps.*4.*Received: steps=5"):
    longer.trials(["pcc"])["pcc"][0].check()


def test_bounds_are_those_of_the_trials_or_refused(config_file, tmp_path):
  trials = _settings(config_file, tmp_path).trials(["pcc", "batch"])
  assert bound_files.read_bounds(tmp_path, trials) == {}
  pcc = {"bound": 5.0, "tried": [[0.5, 0.3], [5.0, 0.2]]}
  bound_files.write_bounds(tmp_path, {"pcc": pcc})
  bound_files.write_bounds(tmp_path, {"batch": {**pcc, "bound": 0.5}})
  found = bound_files.read_bounds(tmp_path, trials)
  assert (found["pcc"]["bound"], found["batch"]["bound"]) == (5.0, 0.5)
  # Bounds that nobody asked for count for nothing.
  only = {"pcc": trials["pcc"]}
  assert list(bound_files.read_bounds(tmp_path, only)) == ["pcc"]
  assert bound_files.read_bounds(tmp_path, {}) == {}
  with pytest.raises(ValueError, match=r"\[0.5, 5.0\].*remove.*=\[0.5\]"):
    bound_files.read_bounds(tmp_path, {"pcc": trials["pcc"][:1]})


@pytest.mark.parametrize(
  ("changes", "choose", "message"),
  [
    ({"data": {"kind": "records"}}, False, "data.test must be a dir.*=''"),
    (
      {"data": {"utterances": {"test": 0}}},
      False,
      "data.utterances.test must be a count above 0.*test=0",
    ),
    (
      {"data": {"kind": "records", "test": "there", "validation": ""}},
      True,
      "data.validation must .*--choose_bound",
    ),
  ],
)
def test_a_set_to_compare_on_is_asked_for_at_once(changes, choose, message):
  config = desk_memorization.get_config()
  training_jobs.require_splits(config, choose)
  config.update(changes)
  with pytest.raises(ValueError, match=message):
    training_jobs.require_splits(config, choose)


def _flags(config_file, directory, *arguments):
  return [
    f"--config={config_file}",
    "--methods=none,pcc",
    "--seeds=1",
    f"--workdir={directory}",
    *arguments,
  ]


def _compare(config_file, directory, *arguments):
  return subprocess.Popen(
    [
      *(sys.executable, "-m", "launch.compare"),
      *_flags(config_file, directory, *arguments),
    ],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _wait_for(path, process, seconds=300):
  end = time.monotonic() + seconds
  while not path.exists() and time.monotonic() < end:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.2)
  assert path.exists()


@pytest.mark.timeout(1500)
def test_stopped_it_goes_on_and_reports_once(
  config_file, run_program, tmp_path
):
  directory = tmp_path / "lab"
  first = directory / "runs" / "none-seed-0"
  # Without --quick this would take thousands of steps: it is stopped while the
  # first run trains, and another number of steps would be another run.
  steps = ["--config.steps=60", "--config.checkpoint_every=30"]
  process = _compare(config_file, directory, *steps)
  _wait_for(first / "metrics.jsonl", process)
  process.send_signal(signal.SIGTERM)
  output = process.communicate(timeout=300)[0]
  assert process.returncode == 130, output
  assert "stopped" in output and not (directory / "report").exists()

  def again(*flags):
    flags = _flags(config_file, directory, *steps, *flags)
    return run_program("compare", *flags)

  done = again()
  assert done.code == 0, done.stderr
  commands = [
    line
    for line in (first / "log.txt").read_text().splitlines()
    if line.startswith("$ python -m launch.train")
  ]
  assert len(commands) == 2
  found = json.loads((directory / "report" / "audit.json").read_text())
  steps_of = {}
  for entry in found["checkpoints"]:
    steps_of.setdefault(entry["method"], []).append(entry["step"])
  assert set(steps_of) == {"none", "pcc"}
  # A run that was stopped has one more, of the step it had come to.
  assert all(s[-1] == 60 and 30 in s for s in steps_of.values())
  assert found["tables"][-1]["headings"][0] == "method"
  cost = {row[0]: row for row in found["tables"][-1]["rows"]}
  assert cost["pcc"][1] == "3 of 2" and cost["none"][1] == "–"
  # One plan for all.
  plans = {
    (path / "canaries.json").read_text()
    for path in (directory / "runs").iterdir()
  }
  assert len(plans) == 1

  done = again()
  assert done.code == 1 and "--overwrite" in done.stderr

  # The runs there are not those of other settings. (One that goes on seed by
  # seed takes the report for that of an earlier look.)
  done = again("--config.optimizer.learning_rate=0.5", "--until=2")
  assert done.code == 1
  assert "optimizer.learning_rate" in done.stderr
  assert "0.5 now" in done.stderr


@pytest.mark.slow
def test_bounds_are_chosen_on_the_validation_set(config_file, tmp_path):
  directory = tmp_path / "lab"
  process = _compare(config_file, directory, "--quick", "--choose_bound")
  output = process.communicate(timeout=300)[0]
  assert process.returncode == 0, output
  bounds = json.loads((directory / "bounds.json").read_text())
  assert list(bounds) == ["pcc"]
  tried = dict(bounds["pcc"]["tried"])
  assert set(tried) == {0.5, 5.0}
  assert tried[bounds["pcc"]["bound"]] == min(tried.values())
  saved = json.loads(
    (directory / "runs" / "pcc-seed-0" / "config.json").read_text()
  )
  assert saved["clipping"]["bound"] == bounds["pcc"]["bound"]
  page = (directory / "report" / "report.html").read_text()
  assert "QUICK RUN" in page and "How the bounds were chosen" in page
