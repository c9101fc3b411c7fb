"""Canary plans: deterministic, distinct, balanced, kept bit for bit."""

import collections
import dataclasses
import itertools
import json

import numpy as np
import pytest

from tf_pcc.audit import canary_plan
from tf_pcc.data.text import normalize

VOICES = [
  {"engine": "nanotts", "voice": "en-US", "pitch": 1.1},
  {"engine": "nanotts", "voice": "en-GB", "pitch": 0.1 + 0.2},
]
WORDS = [
  f"{a}{b}" for a, b in itertools.product(("BA", "RO", "LI"), ("NA", "RI"))
]


def plan(**changes):
  arguments = {
    "voices": VOICES,
    "vocabulary": WORDS,
    "repetitions": (1, 4),
    "canaries_per_count": 6,
    "holdout": 20,
    "seed": 7,
  }
  return canary_plan.make_plan(**{**arguments, **changes})


def test_same_arguments_same_plan_other_seed_other_plan():
  assert plan() == plan()
  assert plan().digest() == plan().digest()
  assert plan().digest() != plan(seed=8).digest()
  assert {c.text for c in plan().all} != {c.text for c in plan(seed=8).all}


def test_the_defaults_are_six_counts_of_twenty_and_two_hundred_held_out():
  full = canary_plan.make_plan(voices=VOICES, vocabulary=WORDS)
  assert collections.Counter(full.repetitions.tolist()) == dict.fromkeys(
    (1, 2, 4, 8, 16, 32), 20
  )
  assert len(full.holdout) == 200
  assert all(c.repetitions == 0 for c in full.holdout)


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"kind": "characters", "vocabulary": None, "length": 8},
    {"kind": "characters", "vocabulary": "ÄßЖ漢é"},
    {
      "kind": "template",
      "vocabulary": None,
      "templates": ["MY NUMBER IS {secret}", "CALL {secret} NOW"],
    },
  ],
)
def test_json_round_trip_bit_for_bit(changes, tmp_path):
  one = plan(speeds=(3.3, 1 / 3), **changes)
  again = canary_plan.CanaryPlan.from_json(one.to_json())
  assert again == one
  assert again.to_json() == one.to_json()
  assert again.digest() == one.digest()
  path = one.save(tmp_path / "deep" / "canaries.json")
  assert canary_plan.CanaryPlan.load(path).to_json() == one.to_json()
  assert path.read_bytes().decode("utf-8") == one.to_json()
  assert [p.name for p in path.parent.iterdir()] == ["canaries.json"]
  with pytest.raises(FileExistsError, match="overwrite"):
    one.save(path)


def _spoilt(path, value):
  """A plan's JSON with one field replaced, or taken out where value is ..."""
  fields = json.loads(plan().to_json())
  *places, last = path
  inner = fields
  for place in places:
    inner = inner[place]
  if value is ...:
    del inner[last]
  else:
    inner[last] = value
  return json.dumps(fields)


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    (["settings"], ..., r"the plan must have.*missing=\['settings'\]"),
    (["settings"], [], r"settings must be an object.*settings=\[\]"),
    (["extra"], 1, r"unknown=\['extra'\]"),
    (["dropped"], -1, "dropped must be.*dropped=-1"),
    (["canaries"], [], "canaries must be a list of at least 1.*0"),
    (["canaries", 2], "A B", r"canaries\[2\] must be an object.*'A B'"),
    (["canaries", 0, "speed"], ..., r"canaries\[0\].*missing=\['speed'\]"),
    (["canaries", 0, "speed"], 0, "speed must be a factor above 0.*speed=0"),
    (["canaries", 0, "pitch"], 1, r"unknown=\['pitch'\]"),
    (["canaries", 1, "repetitions"], 1.5, r"\[1\].repetitions.*=1.5"),
    (["canaries", 1, "repetitions"], 0, "at least 1. .*repetitions=0"),
    (["canaries", 1, "repetitions"], True, "at least 1. .*repetitions=True"),
    (["canaries", 1, "text"], " ?!", r"text must .*text=' \?!'"),
    (["canaries", 1, "voice"], "en", "voice must be an object.*voice='en'"),
    (["canaries", 1, "secret"], "", "secret must be null or.*secret=''"),
    (["holdout", 3, "repetitions"], 1, r"holdout\[3\].*0, which.*=1"),
    (["holdout", 3, "id"], "holdout-04", r"id='holdout-04', as holdout\[3\]"),
    (["holdout", 3], ..., "holdout must be a list of at least 20.*19"),
  ],
)
def test_a_plan_written_by_hand_is_checked(path, value, message, tmp_path):
  file = tmp_path / "canaries.json"
  file.write_text(_spoilt(path, value))
  with pytest.raises(ValueError, match=f"canaries.json: .*{message}"):
    canary_plan.CanaryPlan.load(file)


def test_a_text_twice_whatever_its_case_is_refused():
  text = plan().canaries[0].text.lower() + "!"
  with pytest.raises(ValueError, match=r"holdout\[0\].text.*as canaries\[0\]"):
    canary_plan.CanaryPlan.from_json(_spoilt(["holdout", 0, "text"], text))


def test_what_is_no_json_is_refused(tmp_path):
  file = tmp_path / "canaries.json"
  file.write_text('{"format": 1,')
  with pytest.raises(ValueError, match="canaries.json: .*must be JSON.*form"):
    canary_plan.CanaryPlan.load(file)


def test_repetitions_are_whole():
  with pytest.raises(ValueError, match=r"whole.*repetitions=\(1.5, 2\)"):
    plan(repetitions=(1.5, 2))
  assert plan(repetitions=np.array([1, 4])) == plan()


def test_no_secret_twice():
  template = {
    "kind": "template",
    "vocabulary": None,
    "templates": [f"{name} HAS {{secret}}" for name in WORDS],
  }
  one = plan(length=2, **template)
  assert len({c.secret for c in one.all}) == len(one.all) == 32
  with pytest.raises(ValueError, match="new secrets after 10.*length=1"):
    plan(length=1, **template)


def test_a_voice_of_tuples_survives_json():
  one = plan(voices=[{"voice": "en", "range": (1, 2)}])
  assert canary_plan.CanaryPlan.from_json(one.to_json()) == one


def test_digest_sees_every_field():
  one = plan()
  digests = {one.digest()}
  changes = [
    {"text": "OTHER"},
    {"speed": 4.000001},
    {"voice": {}},
    {"repetitions": 5},
    {"id": "x"},
    {"secret": "s"},
  ]
  for change in changes:
    first = dataclasses.replace(one.canaries[0], **change)
    digests.add(
      dataclasses.replace(one, canaries=(first, *one.canaries[1:])).digest()
    )
  digests.add(dataclasses.replace(one, holdout=one.holdout[::-1]).digest())
  assert len(digests) == len(changes) + 2


def test_no_text_twice_and_none_ordinary():
  words = WORDS[:4]
  texts = [" ".join(pair) for pair in itertools.product(words, words)]
  # 256 texts of four words; every one that starts with BANA is ordinary, in
  # another case and with punctuation.
  ordinary = [
    f"{text.lower()},  bana {word.lower()}!" for text in texts for word in words
  ]
  one = plan(vocabulary=words, holdout=150, ordinary_texts=ordinary, seed=1)
  found = [normalize(c.text) for c in one.all]
  assert len(set(found)) == len(found) == 162
  assert not set(found) & {normalize(text) for text in ordinary}


def test_exhausted_generator_says_so():
  with pytest.raises(ValueError, match="(?s)ran out.*larger vocabulary"):
    plan(vocabulary=["A", "B"], length=3)


def test_voices_and_speeds_are_dealt_evenly_within_each_count():
  one = plan(voices=[{"voice": v} for v in "abc"], speeds=(2.0, 4.0))
  for count, group in itertools.groupby(one.canaries, lambda c: c.repetitions):
    members = list(group)
    voices = collections.Counter(c.voice["voice"] for c in members)
    speeds = collections.Counter(c.speed for c in members)
    assert set(voices.values()) == {2}, count
    assert set(speeds.values()) == {3}, count


def test_ids_are_unique_and_texts_have_the_asked_length():
  one = plan(length=3)
  assert len({c.id for c in one.all}) == len(one.all)
  assert {len(c.text.split()) for c in one.all} == {3}
  assert {w for c in one.all for w in c.text.split()} <= set(WORDS)
  characters = plan(kind="characters", vocabulary=None, length=9)
  assert all(
    len(c.text.split()) == 9 and len(c.text) == 17 for c in characters.all
  )


def test_template_keeps_its_secret():
  one = plan(
    kind="template", vocabulary=None, templates=["MY PIN IS {secret} TODAY"]
  )
  for canary in one.all:
    assert canary.text == f"MY PIN IS {canary.secret} TODAY"
    assert len(canary.secret.split()) == 4
  assert plan().canaries[0].secret is None


def test_canaries_that_do_not_fit_are_replaced_and_counted():
  asked = []

  def fits(text, seconds):
    asked.append((text, seconds))
    return not text.startswith("BANA")

  with pytest.warns(UserWarning, match="(?s)dropped.*[Ss]low them down"):
    one = plan(fits=fits, duration=lambda text, voice: 8.0)
  assert len(one.canaries) == 12
  assert len(one.holdout) == 20
  refused = [text for text, _ in asked if text.startswith("BANA")]
  assert one.dropped == len(refused) > 0
  assert not any(c.text.startswith("BANA") for c in one.all)
  assert {seconds for _, seconds in asked} == {2.0}
  again = canary_plan.CanaryPlan.from_json(one.to_json())
  assert again.dropped == one.dropped


def test_estimated_duration_is_divided_by_speed():
  seen = []
  plan(
    length=3,
    speeds=(5.0,),
    fits=lambda text, seconds: seen.append(len(text) / seconds) or True,
  )
  np.testing.assert_allclose(seen, 15 * 5)


def test_nothing_fits_is_an_error_with_advice():
  with pytest.raises(ValueError, match="(?s)speed 4.*slow them down.*speeds="):
    plan(fits=lambda text, seconds: False)


def test_drop_unfit_after_synthesis():
  one = plan()
  seconds = {c.id: 1.0 for c in one.all}
  assert canary_plan.drop_unfit(one, seconds, lambda text, s: True) is one
  short = one.canaries[2].id
  seconds[short] = 0.01
  with pytest.warns(UserWarning, match="1 of 32 canaries"):
    kept = canary_plan.drop_unfit(one, seconds, lambda text, s: s > 0.1)
  assert kept.dropped == 1
  assert [c.id for c in one.canaries if c not in kept.canaries] == [short]
  assert kept.digest() != one.digest()


def test_drop_unfit_refuses_to_leave_too_little():
  one = plan()
  seconds = {c.id: 1.0 for c in one.all}
  held = one.holdout[0].text
  with pytest.raises(ValueError, match="19 hold-outs left"):
    canary_plan.drop_unfit(one, seconds, lambda text, s: text != held)
  fours = {c.text for c in one.canaries if c.repetitions == 4}
  with pytest.raises(ValueError, match=r"counts \[4\]"):
    canary_plan.drop_unfit(one, seconds, lambda text, s: text not in fours)
  del seconds[one.canaries[0].id]
  with pytest.raises(ValueError, match="every canary"):
    canary_plan.drop_unfit(one, seconds, lambda text, s: True)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"holdout": 19}, "holdout=19"),
    ({"repetitions": (0, 1)}, r"repetitions=\[0, 1\]"),
    ({"repetitions": (2, 2)}, r"repetitions=\[2, 2\]"),
    ({"repetitions": ()}, r"repetitions=\[\]"),
    ({"canaries_per_count": 0}, "canaries_per_count=0"),
    ({"speeds": (0,)}, "speeds="),
    ({"speeds": ()}, "speeds="),
    ({"speeds": (float("nan"),)}, "speeds="),
    ({"speed_by": "magic"}, "speed_by='magic'"),
    ({"voices": []}, r"voices=\[\]"),
    ({"kind": "poems"}, "kind='poems'"),
    ({"vocabulary": ["ONE", "ONE"]}, "two different"),
    ({"vocabulary": None}, "two different"),
    ({"kind": "characters"}, "single characters"),
    ({"length": 0}, "length=0"),
    ({"kind": "template"}, "templates"),
    ({"kind": "template", "templates": ["NO SECRET"]}, "exactly once"),
  ],
)
def test_bad_settings(changes, message):
  with pytest.raises(ValueError, match=f"(?s)Received.*{message}|{message}"):
    plan(**changes)


def test_a_missing_plan_says_where_one_comes_from(tmp_path):
  with pytest.raises(FileNotFoundError, match="trained with canaries"):
    canary_plan.CanaryPlan.load(tmp_path / "canaries.json")


@pytest.mark.parametrize("text", ["[]", json.dumps({"format": 2})])
def test_a_foreign_file_is_refused(text):
  with pytest.raises(ValueError, match="format 1"):
    canary_plan.CanaryPlan.from_json(text)
