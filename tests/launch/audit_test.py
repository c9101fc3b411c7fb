"""launch.audit as a command, on a run trained with canaries."""

import json
import re
import sys

import numpy as np
import pytest
import tensorflow as tf

from launch import train
from launch.canaries import of_run, scores
from launch.configs import base
from launch.recognition import functions
from launch.runs import checkpoints, cluster, opening
from tf_pcc import audit
from tf_pcc.data import records
from tf_pcc.data.utterances import Utterance

WORDS = ("RIVER", "STONE", "CLOUD", "TABLE", "APPLE")
STEPS = 10

# Recognises inserted canaries by their sound, which it looked up; the rest it
# takes for silence.
LOOKUP = """
import numpy as np
from launch.canaries import of_run
found = of_run.load_plan({plan!r})
inserted = dict(zip((w.tobytes() for w in found.waveforms()),
                    (c.text for c in found.plan.canaries)))
def perfect(waveforms, sample_rate):
  assert sample_rate == 16000
  return [inserted.get(w.tobytes(), '').lower() for w in waveforms]
def lazy(waveforms, sample_rate):
  return ['']
def broken(waveforms, sample_rate):
  raise KeyError('no model')
"""


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
  """Two checkpoints of a tiny recogniser with eight canaries."""
  folder = tmp_path_factory.mktemp("audit")
  random = np.random.default_rng(0)
  for name, count in (("train", 30), ("test", 6)):
    pairs = [
      (
        _utterance(f"{name}-{i}", " ".join(random.choice(WORDS, 2))),
        random.uniform(-0.3, 0.3, 8000).astype(np.float32),
      )
      for i in range(count)
    ]
    records.write_records(pairs, folder / name, progress=False)
  config = _config(folder)
  train.train(config, str(folder / "run"), cluster.logical_cores(1))
  return folder / "run"


def _x(waveforms, sample_rate):
  raise RuntimeError("no device\nsecond line")


def _before(waveforms, sample_rate):
  return ["RIVER"] * len(waveforms)


def _after(waveforms, sample_rate):
  return ["STONE CLOUD"] * len(waveforms)


def _utterance(name, line):
  return Utterance(name, "", line)


def _config(folder):
  config = base.get_config()
  config.data.train = str(folder / "train")
  config.data.test = str(folder / "test")
  config.data.cache = str(folder / "cache")
  config.batch, config.steps, config.cores = 6, STEPS, 1
  config.checkpoint_every, config.keep_checkpoints = 5, 0
  config.tokenizer.kind = "word"
  config.model.fields = {
    "encoder": {"dim": 16, "blocks": 2, "heads": 2, "kernel": 3},
    "features": {"mels": 16},
  }
  config.clipping.method = "none"
  config.canaries.insert = True
  config.canaries.repetitions = (1, 4)
  config.canaries.per_count = 4
  config.canaries.holdout = 24
  return config


def test_all_checkpoints_with_losses_and_error_rates(
  run_directory, run_program
):
  done = run_program("audit", f"--workdir={run_directory}", "--checkpoints=all")
  assert done.code == 0, done.stderr
  names = {p.name for p in (run_directory / "audit").iterdir()}
  assert {"audit.json", "report.html", "scores.csv"} < names
  assert any(name.endswith(".png") for name in names)
  found = json.loads((run_directory / "audit" / "audit.json").read_text())
  assert [entry["step"] for entry in found["checkpoints"]] == [5, STEPS]
  first, last = found["checkpoints"]
  assert last["summary"]["score"] == "loss"
  losses = last["scores"]["inserted"]["losses"]
  assert len(losses) == 8 and np.all(np.isfinite(losses))
  assert losses != first["scores"]["inserted"]["losses"]
  # Training evaluated the same weights by another way.
  summary = json.loads((run_directory / "summary.json").read_text())
  assert last["wer"] == pytest.approx(summary["wer"])
  assert "exposure" in done.stdout and "report.html" in done.stdout

  scored = r"64 canaries scored in \d+\.\d s, \d+\.\d a second"
  assert re.fullmatch(scored, done.stdout.splitlines()[-1])
  done = run_program(
    *("audit", f"--workdir={run_directory}", "--step=5"),
    f"--output={run_directory / 'early'}",
  )
  early = json.loads((run_directory / "early" / "audit.json").read_text())
  assert [entry["step"] for entry in early["checkpoints"]] == [5]
  assert early["checkpoints"][0]["scores"] == first["scores"]

  # A second time it refuses, before it takes any time.
  again = run_program("audit", f"--workdir={run_directory}")
  assert "--overwrite" in again.complaint


def test_its_saved_model_gives_the_same_transcripts(
  run_directory, run_program, tmp_path
):
  def talkative(head):
    random = np.random.default_rng(0)
    head.kernel.assign(random.normal(size=head.kernel.shape))
    head.bias.assign(head.bias * 0)

  directory = _copy(run_directory, tmp_path / "run", talkative)
  exported, output = tmp_path / "exported", tmp_path / "audit"
  flags = [f"--workdir={directory}", f"--output={exported}"]
  assert run_program("export", *flags).code == 0
  done = run_program(
    "audit",
    f"--workdir={directory}",
    f"--saved_model={exported}",
    f"--output={output}",
  )
  assert done.code == 0, done.stderr
  (entry,) = json.loads((output / "audit.json").read_text())["checkpoints"]
  (own,), _, _ = scores.audit_run(directory, of_run.load(directory))
  assert len(set(own.inserted.transcripts)) > 1
  for group in ("inserted", "holdout"):
    recognised = tuple(entry["scores"][group]["transcripts"])
    assert recognised == getattr(own, group).transcripts
  assert entry["wer"] == pytest.approx(own.wer)
  assert entry["summary"]["score"] == "cer"


def _copy(run_directory, directory, change):
  """A run with a checkpoint 7 whose head was changed."""
  tf.io.gfile.makedirs(str(directory / "checkpoints"))
  for name in ("config.json", "tokenizer.json", "canaries.json"):
    (directory / name).write_bytes((run_directory / name).read_bytes())
  (directory / "canaries").symlink_to(run_directory / "canaries")
  model, _, _, _ = opening.load_model(str(run_directory))
  change(model.head)
  model.compile("adam")
  model.optimizer.build(model.trainable_variables)
  checkpoints.Checkpoints(str(directory), model).save(7)
  return str(directory)


def test_lookup_table_reaches_the_ceiling(run_directory, tmp_path):
  plan = run_directory / "canaries.json"
  (tmp_path / "looked_up.py").write_text(LOOKUP.format(plan=str(plan)))
  found, _, _ = _with_path(tmp_path, "perfect", run_directory)
  table = audit.summarise(
    of_run.load(str(run_directory)).plan.repetitions,
    found[0].inserted,
    found[0].holdout,
  )
  assert table["score"] == "cer"
  for row in table["rows"]:
    assert row["exposure"]["estimate"] == pytest.approx(np.log2(24))
    assert row["auc"]["estimate"] == 1 and row["cer"]["estimate"] == 0
    assert row["extraction"]["estimate"] == 1
  assert table["holdout"]["extraction"]["estimate"] == 0
  assert found[0].wer == 1

  with pytest.raises(ValueError, match="one string a waveform"):
    _with_path(tmp_path, "lazy", run_directory)
  with pytest.raises(
    ValueError, match="looked_up:broken must.*KeyError: 'no model'"
  ):
    _with_path(tmp_path, "broken", run_directory)


def _with_path(folder, function, directory):
  sys.path.insert(0, str(folder))
  try:
    name = f"looked_up:{function}"
    return scores.audit_function(
      functions.import_function(name),
      name,
      of_run.load(str(directory)),
      str(directory),
    )
  finally:
    sys.path.remove(str(folder))


def test_a_recogniser_before_and_after_fine_tuning(
  run_directory, run_program, tmp_path
):
  plan = f"--plan={run_directory / 'canaries.json'}"
  module = "--transcribe=tests.launch.audit_test"
  before = tmp_path / "before"
  done = run_program(
    *("audit", plan, f"{module}:_before", f"--output={before}", "--unseen")
  )
  assert done.code == 0, done.stderr
  found = audit.read_audit(before / "audit.json")
  assert found["checkpoints"][0]["unseen"] is True
  assert "what no training gives" in " ".join(found["notes"])
  after = tmp_path / "after"
  flags = (plan, f"{module}:_after", f"--output={after}")
  done = run_program("audit", *flags, f"--references={before}")
  assert done.code == 0, done.stderr
  assert "against reference runs, difference: AUC" in done.stdout
  (entry,) = audit.read_audit(after / "audit.json")["checkpoints"]
  found = entry["against_references"]["calibrated"]
  assert (found["references"], found["canaries"]) == (1, 8)
  assert [r["attack"] for r in found["rows"]] == ["plain", "difference"]
  assert set(found["left_out"]) == {"lira", "rmia"}
  none = run_program("audit", *flags, "--overwrite", f"--references={tmp_path}")
  assert "run launch.audit for each first" in none.complaint
  own = run_program("audit", *flags, "--overwrite", f"--references={after}")
  assert "must be other runs than the audited one" in own.complaint


def test_nan_scores_name_the_checkpoint(run_directory, tmp_path):
  def break_it(head):
    head.bias.assign(head.bias * np.nan)

  copy = _copy(run_directory, tmp_path / "run", break_it)
  with pytest.raises(ValueError, match="ckpt-7.*must not be NaN.*--step"):
    scores.audit_run(copy, of_run.load(copy))


def test_a_plan_made_for_another_network_says_what_was_left_out(run_directory):
  found = of_run.load(str(run_directory))
  waveforms = found.waveforms()
  waveforms[2] = waveforms[2][:1500]
  cut = of_run.Canaries(
    found.plan,
    records.MemoryRecords(
      waveforms,
      [c.text for c in found.plan.all],
      ids=[c.id for c in found.plan.all],
    ),
  )
  entries, notes, _ = scores.audit_run(str(run_directory), cut)
  losses = entries[0].inserted.losses
  assert np.isposinf(losses[2]) and np.isfinite(losses).sum() == 7
  found_back = audit.CanaryScores.from_dict(
    json.loads(json.dumps(entries[0].inserted.to_dict(), allow_nan=False))
  )
  np.testing.assert_array_equal(found_back.losses, losses)
  assert any(note.startswith("1 inserted canaries have") for note in notes)


def test_a_plan_of_another_corpus_names_the_words(run_directory):
  found = of_run.load(str(run_directory))
  plan = audit.make_plan(
    voices=[{"name": "anyone"}],
    vocabulary=[*WORDS, "ZEBRA"],
    repetitions=(1, 4),
    canaries_per_count=4,
    holdout=24,
  )
  other = of_run.Canaries(plan, found.records)
  with pytest.raises(
    ValueError, match="another corpus or run.* of 32 .* 1 unknown.*as ZEBRA$"
  ):
    scores.audit_run(str(run_directory), other)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--workdir=RUN", "--output=OUT", "--step=6"], "[5, 10]"),
    (
      ["--workdir=RUN", "--output=OUT", "--step=5", "--checkpoints=all"],
      "--step names one checkpoint",
    ),
    (
      [
        "--plan=PLAN",
        "--output=OUT",
        "--transcribe=tests.launch.audit_test:_x",
      ],
      "tests.launch.audit_test:_x must transcribe; --verbosity=1 shows",
    ),
    (["--workdir=EMPTY"], "canaries.insert=True"),
    (["--plan=PLAN"], "--output and one of --saved_model and --transcribe"),
    ([], "--workdir or --plan is needed"),
  ],
)
def test_user_errors_are_one_message(
  run_directory, run_program, tmp_path, arguments, message
):
  places = {
    "EMPTY": tmp_path,
    "PLAN": run_directory / "canaries.json",
    "RUN": run_directory,
    "OUT": tmp_path / "out",
  }
  for name, place in places.items():
    arguments = [a.replace(name, str(place)) for a in arguments]
  assert message in run_program("audit", *arguments).complaint
