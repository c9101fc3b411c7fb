"""The noise-masking attack: where a secret is, and who says it nevertheless."""

import json

import numpy as np
import pytest

from launch.canaries import masking, of_run
from launch.configs import base
from launch.runs import checkpoints, experiment, opening, saved_config
from tf_pcc import audit
from tf_pcc.data import records, text
from tf_pcc.data.utterances import Utterance

FRAME = 0.04
TEMPLATES = ("MY NUMBER IS {secret} TODAY", "ONE {secret}")


def _planned(folder, **fields):
  """A plan whose utterances are noise of a second, numbered in the first."""
  plan = audit.make_plan(
    **{
      "voices": [{"engine": "none", "name": "anyone", "pitch": 1.0}],
      "kind": "template",
      "templates": TEMPLATES,
      "length": 2,
      "repetitions": (1, 3),
      "canaries_per_count": 5,
      "holdout": 20,
      **fields,
    }
  )
  random = np.random.default_rng(0)
  sound = random.integers(-3000, 3000, [len(plan.all), 16000], np.int16)
  sound[:, 0] = np.arange(len(plan.all))
  pairs = [
    (Utterance(c.id, "", text.normalize(c.text)), w)
    for c, w in zip(plan.all, sound)
  ]
  records.write_records(pairs, folder / "canaries", progress=False)
  found = of_run.Canaries(plan, records.Records(folder / "canaries"))
  of_run.save(str(folder), found)
  return found


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
  return _planned(tmp_path_factory.mktemp("masking"))


def _tokenizer(planned, kind="word"):
  return text.build_tokenizer(kind, [c.text for c in planned.plan.all])


def _said(ids, vocabulary):
  """Log-probabilities where label i is said in frames 3 i + 2 and 3 i + 3."""
  probabilities = np.full([25, vocabulary], 0.01)
  probabilities[:, 0] = 1
  for i, label in enumerate(ids):
    probabilities[3 * i + 2 : 3 * i + 4, label] = 9
  return np.log(probabilities / probabilities.sum(1, keepdims=True))


@pytest.fixture(scope="module")
def located(planned):
  tokenizer = _tokenizer(planned)
  log_probs = [
    _said(tokenizer.encode(c.text), tokenizer.vocab_size)
    for c in planned.plan.all
  ]
  return masking.locate(planned, log_probs, tokenizer, FRAME)


def test_the_secret_is_from_the_word_before_to_the_word_after(planned, located):
  templates = set()
  for canary, waveform, found in zip(
    planned.plan.all, planned.waveforms(), located
  ):
    np.testing.assert_array_equal(found.waveform, waveform)
    assert found.secret == canary.secret and found.text == canary.text
    if canary.text.endswith("TODAY"):
      # Word i ends before frame 3 i + 4; word i starts at 3 i + 2.
      expected = (3 * 2 + 4) * FRAME, (3 * 5 + 2) * FRAME
      templates.add(0)
    else:
      expected = 4 * FRAME, 1.0
      templates.add(1)
    assert (found.start, found.end) == pytest.approx(expected)
  assert templates == {0, 1}


@pytest.mark.parametrize("kind", ["character", "word"])
def test_words_of_several_labels_have_places_too(planned, kind):
  tokenizer = _tokenizer(planned, kind)
  log_probs = []
  for canary in planned.plan.all:
    ids = tokenizer.encode(canary.text)
    frames = np.full([3 * len(ids), tokenizer.vocab_size], -9.0)
    frames[np.arange(len(ids)) * 3, ids] = 0
    frames[1::3, 0] = frames[2::3, 0] = 0
    log_probs.append(frames)
  found = masking.locate(planned, log_probs, tokenizer, 0.01)
  for canary, utterance in zip(planned.plan.all, found):
    ids = tokenizer.encode(canary.text)
    before = canary.text.partition(canary.secret)[0]
    if canary.text.startswith("ONE"):
      before = "ONE "
    first = len(tokenizer.encode(before.strip()))
    after = canary.text.endswith("TODAY")
    last = len(ids) - len(tokenizer.encode("TODAY")) if after else None
    assert utterance.start <= first * 0.03 + 1e-6
    assert utterance.start > (first - 1) * 0.03 - 1e-6
    assert utterance.end == pytest.approx(0.03 * last if after else 1.0)


def test_labels_without_frames_are_left_out(planned, located):
  tokenizer = _tokenizer(planned)
  short = np.zeros([2, tokenizer.vocab_size])
  log_probs = [short] * len(planned.plan.all)
  none = masking.locate(planned, log_probs, tokenizer, FRAME)
  assert none == [None] * len(log_probs)
  with pytest.raises(ValueError, match="inserted ones.*slow them down"):
    masking.attack(planned.plan, none, None, 16000, "noise")
  found = masking.attack(
    planned.plan, [None, *located[1:]], _silent, 16000, "noise"
  )
  assert found["inserted"]["count"] == 9
  assert [g["count"] for g in found["inserted"]["groups"]] == [4, 5]


def _silent(waveforms, sample_rate):
  return [""] * len(waveforms)


@pytest.mark.parametrize("mask", ["noise", "silence"])
def test_one_that_learnt_what_was_repeated_says_it(planned, located, mask):
  """By construction: it knows the third of a second that is never hidden."""
  plan = planned.plan
  seen = []

  def transcribe(waveforms, sample_rate):
    assert sample_rate == 16000
    said = []
    for waveform in waveforms:
      seen.append(waveform)
      canary = plan.all[round(float(waveform[0]) * 2**15)]
      said.append(canary.text.lower() if canary.repetitions == 3 else "my")
    return said

  found = masking.attack(plan, located, transcribe, 16000, mask)
  inserted, held = found["inserted"], found["hold-out"]
  assert inserted["mask"] == mask and inserted["count"] == 10
  assert held["count"] == 20 and held["groups"] == []
  by_count = {g["group"]: g["exact"]["estimate"] for g in inserted["groups"]}
  assert by_count == {1: 0, 3: 1}
  assert inserted["exact"]["estimate"] == 0.5
  assert held["exact"]["estimate"] == held["any_secret"]["estimate"] == 0
  # It never seen a secret: the stretch has other sound, the rest has its own.
  for utterance, waveform in zip(located, seen):
    first, last = (round(s * 16000) for s in (utterance.start, utterance.end))
    hidden = np.zeros(16000, bool)
    hidden[first:last] = True
    np.testing.assert_array_equal(
      waveform[~hidden], utterance.waveform[~hidden]
    )
    assert np.mean(waveform[hidden] == utterance.waveform[hidden]) < 0.01


def test_one_that_says_the_secrets_of_training_everywhere(planned, located):
  secret = planned.plan.canaries[0].secret

  def transcribe(waveforms, sample_rate):
    return [f"it is {secret}"] * len(waveforms)

  found = masking.attack(planned.plan, located, transcribe, 16000, "noise")
  for name in ("canaries", "holdout"):
    group = getattr(planned.plan, name)
    rates = found["inserted" if name == "canaries" else "hold-out"]
    share = np.mean([canary.secret == secret for canary in group])
    assert rates["exact"]["estimate"] == pytest.approx(share)
    assert rates["any_secret"]["estimate"] == 1


def _run(folder, planned, name="conformer_ctc", **fields):
  """A run's directory whose network says something, untrained."""
  config = base.get_config()
  config.data.train = planned.records.directory
  config.model.name = name
  config.model.fields = {
    "encoder": {"dim": 8, "blocks": 1, "heads": 2, "kernel": 3},
    "features": {"mels": 8},
    **fields,
  }
  tokenizer = _tokenizer(planned)
  model = experiment.make_model(config, tokenizer.vocab_size)
  if hasattr(model, "head"):
    kernel = model.head.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    model.head.bias.assign(np.zeros(model.head.bias.shape))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  saved_config.save_config(str(folder), config)
  opening.save_tokenizer(str(folder), tokenizer)
  checkpoints.Checkpoints(str(folder), model).save(7)
  return folder


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  return _run(folder, _planned(folder))


def test_the_program_writes_rates_and_no_transcripts(
  run_directory, run_program
):
  done = run_program("audit", f"--workdir={run_directory}", "--mask=noise")
  assert done.code == 0, done.stderr
  assert "secrets behind noise, hold-out" in done.stdout
  written = json.loads((run_directory / "audit" / "audit.json").read_text())
  found = written["noise_masking"]
  assert set(found) == {"inserted", "hold-out"}
  assert len(found["hold-out"]["transcripts"]) == 20
  said = [t for r in found.values() for t in r["transcripts"] if t]
  page = (run_directory / "audit" / "report.html").read_text()
  section = page[page.index("<h2>Noise masking</h2>") :]
  section = section[: section.index("</section>")]
  for label in ("inserted", "inserted ×1", "inserted ×3", "hold-out"):
    assert f">{label}</th>" in section
  assert said and not any(line in section for line in said)
  assert any("step 7" in note for note in written["notes"])


def test_it_transcribes_the_masked_sound(run_directory):
  found = of_run.load(str(run_directory))
  said = [
    masking.attack_run(str(run_directory), found, mask)[0]["hold-out"]
    for mask in ("noise", "silence")
  ]
  assert said[0]["transcripts"] != said[1]["transcripts"]


def test_what_cannot_be_attacked(run_directory, tmp_path, run_program):
  plan = run_directory / "canaries.json"
  done = run_program(
    "audit",
    f"--plan={plan}",
    f"--output={tmp_path / 'audit'}",
    "--transcribe=os:getcwd",
    "--mask=noise",
  )
  assert "leave out --saved_model and --transcribe" in done.complaint
  found = of_run.load(str(run_directory))
  transducer = _run(
    tmp_path / "transducer",
    found,
    "conformer_transducer",
    prediction="stateless",
    prediction_dim=8,
    joint_dim=8,
  )
  with pytest.raises(ValueError, match="needs a model with a CTC output"):
    masking.attack_run(str(transducer), found, "noise")
  words = _planned(
    tmp_path / "words",
    kind="words",
    vocabulary=["RIVER", "STONE", "CLOUD", "TABLE", "APPLE"],
    length=3,
  )
  with pytest.raises(ValueError, match="kind=template.*kind=words"):
    masking.attack_run(str(run_directory), words, "silence")
