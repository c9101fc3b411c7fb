"""Canaries for any toolkit, and for records: from the plan to the audit."""

import collections
import json
import shutil

import numpy as np
import pytest
import scipy.io.wavfile

from launch import train
from launch.canaries import of_run
from launch.configs import base
from launch.runs import datasets
from tests.conftest import mirrored
from tf_pcc.data import corpora, records

WORDS = ("RIVER", "STONE", "CLOUD", "TABLE", "APPLE")
FIELDS = (
  "--config.canaries.repetitions=(1, 5)",
  "--config.canaries.per_count=2",
  "--config.canaries.holdout=20",
  "--config.canaries.length=3",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A corpus of noise in FOLDER/corpus."""
  result = tmp_path_factory.mktemp("make_canaries")
  (result / "corpus").mkdir()
  random = np.random.default_rng(0)
  lines = ["id\tpath\tspeaker\ttext"]
  for i in range(30):
    noise = random.uniform(-9000, 9000, 8000).astype(np.int16)
    scipy.io.wavfile.write(result / "corpus" / f"{i}.wav", 16000, noise)
    said = " ".join(random.choice(WORDS, 2))
    lines.append(f"u{i:02}\t{i}.wav\ts\t{said}")
  (result / "corpus" / "manifest.tsv").write_text("\n".join(lines))
  return result


@pytest.fixture(scope="module")
def make(folder, run_program):
  """A function (output, *arguments) that runs launch.make_canaries."""

  def run(output, *arguments, corpus=folder / "corpus"):
    return run_program(
      "make_canaries",
      f"--corpus={corpus}",
      f"--output={folder / output}",
      f"--config.data.cache={folder / 'cache'}",
      *(arguments or FIELDS),
    )

  return run


@pytest.fixture(scope="module")
def planned(folder, make):
  done = make("planned")
  assert done.code == 0, done.stderr
  assert "4 canaries, 12 lines" in done.stdout
  assert "20 held out" in done.stdout and "not checked" in done.stdout
  return folder / "planned"


def test_another_toolkit_reads_wavs_and_manifest(planned):
  plan = of_run.load_plan(str(planned / "canaries.json")).plan
  corpus = corpora.read_corpus(planned)
  seen = collections.Counter(u.id.split("#")[0] for u in corpus)
  assert seen == {c.id: c.repetitions for c in plan.canaries}
  wavs = {path.stem for path in (planned / "wav").iterdir()}
  assert wavs == {canary.id for canary in plan.canaries}
  texts = {canary.id: canary.text for canary in plan.canaries}
  opened = records.Records(planned / "canaries")
  for utterance, waveform in zip(corpus, corpus.waveforms()):
    name = utterance.id.split("#")[0]
    assert utterance.text == texts[name]
    row = opened.ids.index(name)
    assert utterance.seconds == pytest.approx(len(waveform) / 16000, abs=1e-3)
    np.testing.assert_array_equal(
      np.round(waveform * 2**15), opened.read(row).astype(np.float32)
    )


def test_lines_are_spread_over_the_corpus(planned):
  lines = (planned / "manifest.tsv").read_text().splitlines()
  rows = [dict(zip(lines[0].split("\t"), r.split("\t"))) for r in lines[1:]]
  places = [int(row["before"]) for row in rows]
  assert places == sorted(places) and places[0] >= 0 and places[-1] < 30
  for name in {r["id"].split("#")[0] for r in rows if "x5" in r["id"]}:
    own = [int(r["before"]) for r in rows if r["id"].startswith(f"{name}#")]
    assert set(np.diff(own)) <= {5, 6, 7} and len(own) == 5


def test_texts_are_new_and_of_the_corpus_words(planned, folder):
  plan = of_run.load_plan(str(planned / "canaries.json")).plan
  ordinary = set(datasets.read_texts(folder / "corpus"))
  assert not ordinary & {canary.text for canary in plan.all}
  assert {w for c in plan.all for w in c.text.split()} <= set(WORDS)


def test_same_arguments_same_plan(planned, make, folder):
  assert make("again").code == 0
  for name in ("canaries.json", "manifest.tsv"):
    assert (planned / name).read_text() == (folder / "again" / name).read_text()


def test_finished_the_same_command_changes_nothing(planned, make):
  def seen():
    return {p: p.stat().st_mtime_ns for p in planned.rglob("*")}

  before = seen()
  done = make("planned")
  assert done.code == 0 and "4 canaries, 12 lines" in done.stdout
  assert seen() == before


def test_finished_but_damaged_it_is_mended_or_refused(planned, make, folder):
  """By the sound beside it, whose sums tell whether it is as it was."""
  output = folder / "harmed"
  shutil.copytree(planned, output)
  wavs = sorted((output / "wav").iterdir())
  before = [path.read_bytes() for path in wavs]
  wavs[0].write_bytes(b"")
  wavs[1].unlink()
  wavs[2].write_bytes(before[2][:-1] + b"?")
  done = make("harmed")
  assert done.code == 0 and f"{wavs[1].name}, {wavs[2].name}" in done.stderr
  assert [path.read_bytes() for path in wavs] == before
  [shard] = (output / "canaries").glob("*.tfrecord")
  shard.write_bytes(bytes(shard.stat().st_size))
  assert str(shard.parent) in make("harmed").complaint
  shutil.rmtree(output)


def test_what_a_killed_process_left_is_replaced(planned, make, folder):
  """The sound of another plan, half a file, and no plan yet."""
  output = folder / "left"
  shutil.copytree(planned, output)
  (output / "canaries.json").unlink()
  wav = sorted((output / "wav").iterdir())[0]
  whole = wav.read_bytes()
  wav.write_bytes(whole[:100])
  (output / "wav" / ".writing-1-x-a.wav").write_bytes(whole[:100])
  assert make("left").code == 0
  assert wav.read_bytes() == whole
  names = sorted(str(p.relative_to(output)) for p in output.rglob("*"))
  assert names == sorted(
    str(p.relative_to(planned)) for p in planned.rglob("*")
  )
  (output / "canaries.json").unlink()
  assert make("left", *FIELDS, "--config.canaries.seed=1").code == 0
  of_run.load_plan(str(output / "canaries.json"))


def test_fit_asks_the_model(make, folder):
  # A character takes a frame; at ten times the speed there are too few.
  tight = (*FIELDS, "--config.tokenizer.kind=character")
  done = make("fast", *tight, "--config.canaries.speeds=(10.,)", "--fit")
  assert "slow them down" in done.complaint
  assert not (folder / "fast").exists()
  done = make("slow", *tight, "--config.canaries.speeds=(1.,)", "--fit")
  assert done.code == 0 and "0 left out" in done.stdout


@pytest.mark.parametrize(
  ("output", "arguments", "message"),
  [
    ("planned", (*FIELDS, "--config.canaries.seed=7"), "never overwritten"),
    ("new", ("--config.canaries.repetitions=(1, 31)",), "at least 31 utt"),
    ("new", (*FIELDS[:3], "--config.canaries.length=1"), "ran out of new"),
    ("new", (*FIELDS, "--config.canaries.holdout=19"), "at least 20"),
  ],
)
def test_user_errors_are_one_line(planned, make, output, arguments, message):
  assert message in make(output, *arguments).complaint
  assert not (planned.parent / "new").exists()


def _prepare(run_program, folder, output, *arguments):
  return run_program(
    "prepare",
    f"--corpus={folder / 'corpus'}",
    f"--output={folder / output}",
    f"--canaries={folder / 'planned' / 'canaries.json'}",
    *arguments,
  )


@pytest.fixture(scope="module")
def prepared(folder, planned, run_program):
  done = _prepare(run_program, folder, "records", "--shards=3")
  assert done.code == 0, done.stderr
  assert "42 utterances" in done.stdout
  assert "4 canaries, 12 times in all; 20 held out" in done.stdout
  return folder / "records"


def test_records_hold_each_canary_as_often_as_planned(prepared, planned):
  plan = of_run.load_plan(str(planned / "canaries.json")).plan
  opened = records.Records(prepared)
  seen = collections.Counter(
    name.split("#")[0] for name in opened.ids if "#" in name
  )
  assert seen == {c.id: c.repetitions for c in plan.canaries}
  sound = records.Records(planned / "canaries")
  for row, name in enumerate(opened.ids):
    if "#" in name:
      expected = sound.read(sound.ids.index(name.split("#")[0]))
      np.testing.assert_array_equal(opened.read(row), expected)
  # The plan went along.
  assert of_run.load_plan(str(prepared / "canaries.json")).plan == plan


def test_the_first_utterances_get_canaries_too(folder, planned, run_program):
  done = _prepare(run_program, folder, "few", "--first=6")
  assert done.code == 0, done.stderr
  opened = records.Records(folder / "few")
  assert len(opened) == 6 + 12
  done = _prepare(run_program, folder, "fewer", "--first=4")
  assert "at least 5 utterances" in done.complaint
  assert not (folder / "fewer").exists()


def test_stopped_before_the_plan_was_written_it_is_finished(
  prepared, folder, planned, run_program
):
  # As a call leaves it that is killed between the two.
  output = folder / "killed"
  shutil.copytree(prepared, output)
  (output / "canaries.json").unlink()
  shutil.rmtree(output / "canaries")
  index = (output / "index.json").read_bytes()
  done = _prepare(run_program, folder, "killed", "--first=6")
  assert "never overwritten" in done.complaint
  done = _prepare(run_program, folder, "killed", "--shards=3")
  assert done.code == 0, done.stderr
  assert "42 utterances" in done.stdout and "20 held out" in done.stdout
  assert (output / "index.json").read_bytes() == index
  plan = of_run.load_plan(str(planned / "canaries.json")).plan
  assert of_run.load_plan(str(output / "canaries.json")).plan == plan
  # The same command again finds it finished.
  done = _prepare(run_program, folder, "killed", "--shards=3")
  assert done.code == 0 and "42 utterances" in done.stdout
  assert (output / "index.json").read_bytes() == index


def test_a_corpus_that_holds_them_already(folder, planned, run_program):
  done = run_program(
    "prepare",
    f"--corpus={planned}",
    f"--output={folder / 'twice'}",
    f"--canaries={planned / 'canaries.json'}",
  )
  assert "12 utterances say what a canary" in done.complaint
  done = _prepare(run_program, folder, "none", f"--canaries={folder}")
  assert "--canaries must be a canaries.json" in done.complaint


def test_trained_on_such_records_the_audit_finds_them(
  prepared, folder, planned, run_program
):
  config = base.get_config()
  config.data.train = str(prepared)
  config.batch, config.steps, config.cores = 6, 4, 1
  config.tokenizer.kind = "word"
  config.model.fields = {
    "encoder": {"dim": 8, "blocks": 1, "heads": 2, "kernel": 3},
    "features": {"mels": 8},
  }
  config.clipping.method = "none"
  summary = train.train(config, str(folder / "run"), mirrored(1))
  assert summary["training_utterances"] == 42 and not summary["filtered"]
  assert not (folder / "run" / "canaries.json").exists()
  flags = [f"--workdir={folder / 'run'}", "--overwrite"]
  by_hand = run_program("audit", *flags, f"--plan={planned / 'canaries.json'}")
  assert by_hand.code == 0, by_hand.stderr
  written = folder / "run" / "audit" / "audit.json"
  first = json.loads(written.read_text())
  # Without --plan, the one beside the records.
  assert run_program("audit", *flags).code == 0
  second = json.loads(written.read_text())
  assert first["plan"] == second["plan"]
  assert first["checkpoints"] == second["checkpoints"]
  assert len(first["checkpoints"][0]["scores"]["inserted"]["losses"]) == 4
