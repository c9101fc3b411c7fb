"""Canaries of a run: planned once, spoken once, read again ever after."""

import collections
import json
import math

import numpy as np
import pytest

from launch.canaries import of_run, speaking
from launch.configs import base
from tf_pcc import audit
from tf_pcc.data import batching, records, text, tts

WORDS = ["RIVER", "STONE", "CLOUD", "TABLE", "APPLE", "WINDOW"]
LINES = [f"{a} {b}" for a in WORDS for b in WORDS]


def _fits(labels, samples):
  return batching.ctc_length(labels) <= samples // 640


@pytest.fixture(scope="module")
def splits():
  noise = np.random.default_rng(0).uniform(-0.1, 0.1, [len(LINES), 16000])
  return {"train": records.MemoryRecords(list(noise), LINES)}


@pytest.fixture(scope="module")
def tokenizer():
  return text.build_tokenizer("word", LINES)


@pytest.fixture
def config(tmp_path):
  result = base.get_config()
  result.data.cache = str(tmp_path / "cache")
  result.steps = 30
  fields = result.canaries
  fields.insert = True
  fields.repetitions = (1, 5)
  fields.per_count = 3
  fields.holdout = 20
  return result


@pytest.fixture
def prepare(config, splits, tokenizer, tmp_path):
  def run(directory="run", fits=_fits, **fields):
    config.canaries.update(fields)
    path = str(tmp_path / directory)
    return of_run.prepare(config, path, splits, tokenizer, fits)

  return run


def test_off_by_default(splits, tokenizer, tmp_path):
  config = base.get_config()
  assert of_run.prepare(config, str(tmp_path), splits, tokenizer, _fits) is None
  assert not list(tmp_path.iterdir())


def test_plan_is_new_text_from_the_corpus_words(prepare):
  plan = prepare().plan
  assert collections.Counter(plan.repetitions) == {1: 3, 5: 3}
  lines = [canary.text for canary in plan.all]
  assert len(set(lines)) == 26 and not set(lines) & set(LINES)
  assert {word for line in lines for word in line.split()} <= set(WORDS)
  voices = {(c.voice["name"], c.voice["pitch"]) for c in plan.all}
  assert len(voices) == 6  # two voices at three pitches


def test_secrets_are_digits_where_the_corpus_has_them(config):
  config.canaries.kind = "template"
  config.canaries.templates = ("WINDOW {secret} TABLE",)
  digits = set(audit.texts.DIGITS)
  for texts, expected in ((LINES, set(WORDS)), ([*LINES, *digits], digits)):
    plan = of_run.draw(config, texts).plan
    assert {w for c in plan.all for w in c.secret.split()} <= expected
    assert all(c.text == f"WINDOW {c.secret} TABLE" for c in plan.all)


def test_sound_is_the_voice_at_four_times_the_speed(prepare):
  found = prepare()
  plan = found.plan
  slow = tts.synthesize(
    [c.text for c in plan.all], [tts.Voice(**c.voice) for c in plan.all]
  )
  for waveform, fast in zip(slow, found.waveforms()):
    assert len(fast) == math.ceil(len(waveform) / 4)
    # Resampling keeps what is below the new limit: a slow mean of power.
    power = np.mean((waveform / 2**15) ** 2.0)
    assert 0.2 * power < np.mean(fast**2.0) < 1.5 * power


def test_engine_rate_is_another_way_to_be_fast(prepare):
  resampled = prepare("a").waveforms()
  spoken = prepare("b", speed_by="engine").waveforms()
  ratio = sum(map(len, spoken)) / sum(map(len, resampled))
  assert 0.5 < ratio < 2
  assert any(len(a) != len(b) for a, b in zip(resampled, spoken))


def test_directory_is_read_again_without_drawing_or_speaking(
  prepare, monkeypatch
):
  first = prepare()

  def never(*_):
    raise AssertionError("spoke or planned again")

  monkeypatch.setattr(of_run, "speak", never)
  monkeypatch.setattr(of_run, "draw", never)
  again = prepare(seed=7)
  assert again.plan == first.plan
  for a, b in zip(first.waveforms(), again.waveforms()):
    np.testing.assert_array_equal(a, b)


def test_a_plan_that_was_changed_is_not_trained_on_with(prepare, tmp_path):
  """A resumed run would insert other canaries than before."""
  first = prepare()
  path = tmp_path / "run" / "canaries.json"
  plan = json.loads(path.read_text())
  whole = path.read_text()
  plan["canaries"][0]["repetitions"] += 1
  path.write_text(json.dumps(plan))
  with pytest.raises(ValueError, match="json must be the plan that"):
    prepare()
  with pytest.raises(ValueError, match="json must be the plan that"):
    of_run.load(str(tmp_path / "run"))
  path.write_text(whole)
  assert prepare().plan == first.plan
  # A run from before the digest was written.
  (tmp_path / "run" / "canaries" / "plan.json").unlink()
  assert prepare().plan == first.plan


def test_runs_of_a_comparison_share_plan_and_sound(prepare, monkeypatch):
  first = prepare("a")
  monkeypatch.setattr(speaking, "_speak", None)
  second = prepare("b")
  assert first.plan.digest() == second.plan.digest()
  for a, b in zip(first.waveforms(), second.waveforms()):
    np.testing.assert_array_equal(a, b)


def test_coins_of_all_seeds_share_canaries_and_sound(
  prepare, tmp_path, monkeypatch
):
  whole = prepare("whole")
  monkeypatch.setattr(speaking, "_speak", None)
  first, second = prepare("a", coin_seed=1), prepare("b", coin_seed=2)
  assert first.plan != second.plan
  sounds = [
    dict(zip((c.id for c in found.plan.all), found.waveforms()))
    for found in (whole, first, second)
  ]
  for name, sound in sounds[0].items():
    np.testing.assert_array_equal(sound, sounds[1][name])
    np.testing.assert_array_equal(sound, sounds[2][name])
  # What is inserted is what the coins say, and the file keeps it.
  assert len(first.insertions()) == len(first.plan.canaries)
  assert of_run.load(str(tmp_path / "a")).plan == first.plan
  monkeypatch.undo()
  lonely = tmp_path / "lonely.json"
  lonely.write_text((tmp_path / "b" / "canaries.json").read_text())
  spoken = of_run.load_plan(str(lonely), str(tmp_path / "other"))
  for a, b in zip(second.waveforms(), spoken.waveforms()):
    np.testing.assert_array_equal(a, b)


def test_speakers_are_voices_and_on_one_side(prepare):
  pitches = tuple(0.6 + i / 20 for i in range(10))
  found = prepare(by_speaker=True, pitches=pitches, per_count=20)
  speakers = dict(zip(found.records.ids, found.records.speakers))
  assert {speakers[c.id] for c in found.plan.all} == {
    f"speaker-{i:02}" for i in range(20)
  }
  inserted = {speakers[c.id] for c in found.plan.canaries}
  assert not inserted & {speakers[c.id] for c in found.plan.holdout}
  with pytest.raises(ValueError, match="at least 20 different voices"):
    prepare("few", by_speaker=True, pitches=(1.0,))


def test_plan_file_alone_is_spoken_anew_and_equal(prepare, tmp_path):
  first = prepare()
  lonely = tmp_path / "lonely.json"
  lonely.write_text((tmp_path / "run" / "canaries.json").read_text())
  found = of_run.load_plan(str(lonely), str(tmp_path / "other"))
  assert found.plan == first.plan
  for a, b in zip(first.waveforms(), found.waveforms()):
    np.testing.assert_array_equal(a, b)


def test_each_canary_is_seen_exactly_as_often_as_planned(
  prepare, splits, tokenizer
):
  found = prepare()
  batches = batching.Batches(
    splits["train"],
    tokenizer,
    global_batch=4,
    inserted=found.insertions(),
    total_steps=30,
    fits=_fits,
  )
  seen = collections.Counter(i for step in range(30) for i in batches.ids(step))
  for canary in found.plan.canaries:
    assert seen[canary.id] == canary.repetitions
  assert not any(seen[canary.id] for canary in found.plan.holdout)
  # A batch holds the canary's own sound.
  step = next(s for s in range(30) if "canary-x5-0" in batches.ids(s))
  row = batches.ids(step).index("canary-x5-0")
  audio, length, labels, count = (a[row] for a in batches.batch(step))
  place = found.rows(found.plan.canaries)[3]
  np.testing.assert_array_equal(audio[:length], found.records.read(place))
  assert tokenizer.decode(labels[:count]) == found.plan.canaries[3].text


def test_what_does_not_fit_once_spoken_is_dropped(prepare):
  whole = prepare("a")
  samples = np.sort([len(w) for w in whole.waveforms()])
  shortest = samples[2]

  # From the third shortest on; estimates all fit, since no estimate is shorter
  # than the limit.
  def fits(labels, count):
    return count >= shortest

  with pytest.warns(UserWarning, match="dropped"):
    found = prepare("b", fits=fits)
  assert found.plan.dropped >= 2
  assert min(len(w) for w in found.waveforms()) >= shortest
  again = prepare("b", fits=fits)
  assert again.plan == found.plan
  assert again.records.ids == tuple(c.id for c in found.plan.all)


def test_none_fits_says_slow_down(prepare):
  with pytest.raises(ValueError, match="slow them down.*speeds"):
    prepare(fits=lambda labels, samples: False)


def test_errors_say_what_to_do(prepare, config, tmp_path):
  with pytest.raises(ValueError, match="steps.*repetitions=\\(1, 31\\)"):
    prepare(repetitions=(1, 31))
  with pytest.raises(ValueError, match="at least 20"):
    prepare(repetitions=(1, 5), holdout=19)
  with pytest.raises(ValueError, match="canaries.insert=True"):
    of_run.load(str(tmp_path))
  with pytest.raises(ValueError, match="canaries.json.*plan=/nowhere"):
    of_run.load_plan("/nowhere")
  with pytest.raises(ValueError, match="vocabulary"):
    prepare(holdout=20, kind="characters")


def test_a_plan_by_hand_is_checked_and_its_file_named(prepare, tmp_path):
  prepare()
  path = tmp_path / "run" / "canaries.json"
  fields = json.loads(path.read_text())
  first = fields["canaries"][0]

  def refused(message):
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message):
      of_run.load_plan(str(path))

  first["text"] += " RIVER"
  refused("sound of the plan.*another text for 1 .'canary-x1-0'.")
  first["id"] = "mine"
  refused("no sound of 1 canaries .'mine'.")
  first["voice"] = {}
  refused("plan=.*run/canaries.json: voice must have a name")
  del fields["settings"]["seed"]
  refused("settings without .'seed'.")
  first["repetitions"] = "5"
  refused("plan=.*run/canaries.json: .*repetitions='5'")
  path.write_text("{")
  with pytest.raises(ValueError, match="plan=.*run/canaries.json: .*JSON"):
    of_run.load_plan(str(path))


def test_a_run_with_a_plan_takes_no_other(prepare, tmp_path):
  own, other = prepare(), prepare("other", seed=5)
  of_run.require_own(str(tmp_path / "run"), own.plan)
  of_run.require_own(str(tmp_path), own.plan)  # It has none.
  with pytest.raises(ValueError, match="run/canaries.json.*leave out --plan"):
    of_run.require_own(str(tmp_path / "run"), other.plan)


def test_a_run_that_began_without_gets_none(prepare, tmp_path):
  folder = tmp_path / "run" / "checkpoints"
  folder.mkdir(parents=True)
  for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001"):
    (folder / name).write_text("")
  with pytest.raises(ValueError, match="began without canaries"):
    prepare()


def test_interrupted_writing_is_taken_up(prepare, tmp_path):
  first = prepare()
  (tmp_path / "run" / "canaries.json").unlink()
  again = prepare()
  assert again.plan == first.plan
  saved = json.loads((tmp_path / "run" / "canaries.json").read_text())
  assert saved["settings"]["repetitions"] == [1, 5]


def test_more_canaries_than_a_share_are_refused_before_they_are_planned(
  prepare, config
):
  utterances = 24
  # 18 of 30 steps of 48.
  prepare("few", max_share=18 / (30 * 48))
  with pytest.raises(
    ValueError, match="18 of 1440 utterances are canaries, .*max_share=0.012$"
  ):
    prepare("many", max_share=0.012)
  # Of a plan without a run, or a shorter one: a pass over the corpus.
  config.canaries.max_share = 18 / (utterances + 18)
  of_run.require_share(config, utterances)
  of_run.require_share(config, utterances, total=20)
  with pytest.raises(ValueError, match="18 of 41 utterances"):
    of_run.require_share(config, utterances - 1)
  for share in (0, 1.5, -0.1):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
      prepare("bad", max_share=share)
