"""choice.json, and the trials that a comparison chooses by."""

import dataclasses
import json
import math

import pytest

from launch.canaries import of_run
from launch.comparison import (
  choice_files,
  choosing,
  training_jobs,
)
from launch.comparison.choosing import BETA_2, BOUND, RATE
from launch.configs import desk_claims, desk_memorization
from launch.runs import experiment

GRID = {name: tuple(line) for name, line in desk_claims.GRID.items()}


def _settings(directory, module=desk_claims, **overrides):
  return training_jobs.Settings(
    module.__file__, module.get_config(), overrides, str(directory)
  )


def _choice():
  return choosing.choose(
    GRID,
    {RATE: 1e-3, BETA_2: 0.98, BOUND: 8.0},
    lambda trials: [[(0.1, 9), (0.2, 9)]] * len(trials),
    has_bound=True,
  )


def test_what_was_chosen_is_read_as_it_was_written(tmp_path):
  assert choice_files.read(tmp_path, GRID) == {}
  choice = dataclasses.asdict(_choice())
  choice["fields"][BOUND] = math.inf
  choice_files.write(tmp_path, GRID, {"batch": choice})
  assert choice_files.read(tmp_path, GRID) == {"batch": choice}
  # Strict JSON: no Infinity.
  text = (tmp_path / "choice.json").read_text()
  assert "Infinity" not in text and json.loads(text)["rule"] == choosing.RULE
  other = GRID | {RATE: (1e-3, 2e-3, 4e-3)}
  with pytest.raises(ValueError, match="GRID must be what was chosen from"):
    choice_files.read(tmp_path, other)
  (tmp_path / "choice.json").write_text("{}")
  with pytest.raises(ValueError, match="remove it"):
    choice_files.read(tmp_path, GRID)


@pytest.mark.parametrize("value", ["", "/dev/zero", "1e"])
def test_a_word_for_a_number_is_named_with_the_file(tmp_path, value):
  choice = dataclasses.asdict(_choice())
  choice_files.write(tmp_path, GRID, {"batch": choice})
  path = tmp_path / "choice.json"
  for change in (
    lambda found: found["grid"].update({RATE: [value]}),
    lambda found: found["methods"]["batch"]["fields"].update({RATE: value}),
    lambda found: found["methods"]["batch"]["tried"][0].update(value=value),
  ):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match="choice.json is not as .* remove it"):
      choice_files.read(tmp_path, GRID)
    choice_files.write(tmp_path, GRID, {"batch": choice})


def test_trials_have_no_canaries_no_test_set_and_seeds_of_their_own(tmp_path):
  settings = _settings(tmp_path)
  fields = {RATE: 2e-3, BETA_2: 0.95}
  jobs = settings.choice_jobs("pcc", fields | {BOUND: 2.5})
  assert [job.seed for job in jobs] == [1000, 1001]
  for job in jobs:
    assert job.config.clipping.method == "pcc"
    assert job.config.clipping.bound == 2.5
    assert job.config.optimizer.learning_rate == 2e-3
    assert job.config.optimizer.beta_2 == 0.95
    assert not job.config.canaries.insert
    assert job.config.data.utterances.test == 0
    assert job.config.steps == settings.config.steps
  assert len({job.directory for job in jobs}) == 2
  # Without a bound nothing is clipped: all methods share the run.
  [one, _] = settings.choice_jobs("pcc", fields)
  assert one.method == "none" and one.config.clipping.microbatches == 1
  assert one.directory == settings.choice_jobs("batch", fields)[0].directory


@pytest.mark.parametrize("model", ["conformer_ctc", "conformer_transducer"])
def test_the_laboratory_is_as_its_docstring_says(tmp_path, model):
  config = desk_claims.get_config(model)
  settings = training_jobs.Settings(
    f"{desk_claims.__file__}:{model}", config, {}, str(tmp_path)
  )
  units = {}
  for method in settings.family:
    job = settings.job(method, 0)
    clipping = experiment.make_clipping(job.config, job.config.batch)
    units[method] = clipping and clipping.microbatches
  assert units == {
    "none": None,
    "batch": 1,
    "pcc": 8,
    "per_example": 16,
    "apcc": 8,
    "running": 8,
  }
  canaries = config.canaries
  assert canaries.per_count * len(canaries.repetitions) == 300
  assert canaries.per_count * sum(canaries.repetitions) == 1125
  assert config.steps * config.batch == 6720
  utterances = config.data.utterances
  of_run.require_share(config, utterances["train"], 6720)
  assert (utterances["test"], utterances["validation"]) == (4000, 1000)
  assert settings.grid == GRID


def test_apcc_takes_the_choice_of_batch_but_no_bound(tmp_path):
  assert training_jobs.chosen_methods(
    ["none", "apcc", "running", "pcc", "batch"]
  ) == ["none", "batch", "pcc"]
  fields = {RATE: 2e-3, BETA_2: 0.95}
  choices = {"batch": {"fields": fields | {BOUND: 2.5}}}
  assert training_jobs.fields_for("batch", choices) == fields | {BOUND: 2.5}
  for method in training_jobs.CHOSEN_AS:
    assert training_jobs.fields_for(method, choices) == fields
  assert training_jobs.fields_for("none", choices) == {}
  job = _settings(tmp_path).job(
    "apcc", 3, chosen=training_jobs.fields_for("apcc", choices)
  )
  assert job.config.optimizer.learning_rate == 2e-3
  assert job.config.clipping.normalize == "auto"
  assert job.audit_arguments == ("--test_utterances=1000",)
  assert "--config.optimizer.learning_rate=0.002" in job.arguments


def test_a_config_without_a_grid_has_nothing_to_choose_from(tmp_path):
  with pytest.raises(ValueError, match="--choose needs.*GRID"):
    _ = _settings(tmp_path, desk_memorization).grid
  changed = {"optimizer.learning_rate": 3e-3}
  with pytest.raises(ValueError, match="learning_rate=0.003"):
    _ = _settings(tmp_path, **changed).grid


def test_a_trial_of_an_older_program_lacks_its_words(tmp_path, monkeypatch):
  [job, _] = _settings(tmp_path).choice_jobs("none", {RATE: 1e-3, BETA_2: 0.98})
  monkeypatch.setattr(
    training_jobs.Job, "summary", lambda self: {"validation_wer": 0.1}
  )
  with pytest.raises(ValueError, match="validation_words"):
    job.validation()
