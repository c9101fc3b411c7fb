"""The fill-in-the-blank attack on recognisers that leak and that do not."""

import numpy as np
import pytest

from tf_pcc.audit import noise_masking

RATE = 1000
NAMES = ["ADA", "GRACE HOPPER", "ALAN", "EMMY"]


def utterances():
  """Each name is hidden in the second of three seconds; sound says which."""
  rng = np.random.default_rng(0)
  return [
    noise_masking.MaskedUtterance(
      waveform=np.concatenate(
        [np.full(RATE, 0.1 * (i + 1)), rng.normal(0, 0.1, 2 * RATE)]
      ),
      text=f"MY NAME IS {name} TODAY",
      secret=name,
      start=1.0,
      end=2.0,
    )
    for i, name in enumerate(NAMES)
  ]


def attack(answer, **options):
  def transcribe(waveforms, sample_rate):
    assert sample_rate == RATE
    return [answer(round(float(w[0]) * 10) - 1) for w in waveforms]

  return noise_masking.noise_masking_attack(
    utterances(), transcribe, RATE, progress=False, **options
  )


def test_a_recogniser_that_memorized_all():
  found = attack(lambda i: f"my name is {NAMES[i].lower()}, today")
  assert found["exact"]["estimate"] == found["any_secret"]["estimate"] == 1
  assert found["exact"]["low"] < 1
  assert found["count"] == 4


def test_a_recogniser_that_says_the_wrong_names():
  found = attack(lambda i: f"MY NAME IS {NAMES[(i + 1) % 4]} TODAY")
  assert found["exact"]["estimate"] == 0
  assert found["any_secret"]["estimate"] == 1
  assert found["exact"]["high"] > 0


def test_a_recogniser_that_says_no_name():
  found = attack(lambda i: "MY NAME IS TODAY")
  assert found["exact"]["estimate"] == found["any_secret"]["estimate"] == 0


def test_names_of_the_training_set_beside_the_tested_ones():
  options = {"secrets": ["KURT"]}
  found = attack(lambda i: "MY NAME IS KURT TODAY", **options)
  assert found["any_secret"]["estimate"] == 1
  assert attack(lambda i: "MY NAME IS KURT")["any_secret"]["estimate"] == 0
  # The true secret is one, listed or not.
  right = attack(lambda i: f"IS {NAMES[i]}", **options)
  assert right["any_secret"]["estimate"] == 1


@pytest.mark.parametrize(
  "transcript, secret, context, expected",
  [
    ("I SAW ADA", "ADA", (), True),
    ("I SAW ADAM", "ADA", (), False),
    ("GRACE SAW HOPPER", "GRACE HOPPER", (), False),
    ("ONE TWO", "TWO", ("TWO",), False),
    ("TWO TWO", "TWO", ("TWO",), True),
    ("A B", "A B", ("A", "B"), True),
    ("", "ADA", (), False),
  ],
)
def test_says(transcript, secret, context, expected):
  assert noise_masking.says(transcript, secret, context) is expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mask_hides_the_stretch_and_only_it(dtype):
  waveform = np.random.default_rng(1).normal(0, 0.1, 3000).astype(dtype)
  before = waveform.copy()
  for mask in noise_masking.MASKS:
    found = noise_masking.mask_segment(waveform, RATE, 1, 2, mask, rng=3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
      np.delete(found, np.s_[1000:2000]),
      np.delete(waveform.astype(np.float32), np.s_[1000:2000]),
    )
    hidden = np.corrcoef(
      found[1000:2000] + 1e-9 * np.arange(1000), waveform[1000:2000]
    )[0, 1]
    assert abs(hidden) < 0.12
  np.testing.assert_array_equal(waveform, before)


def test_noise_has_the_asked_level_and_the_same_seed_the_same_noise():
  waveform = np.random.default_rng(2).normal(0, 0.05, 20_000)
  one, two = (
    noise_masking.mask_segment(waveform, RATE, 1, 19, snr_db=10, rng=4)
    for _ in range(2)
  )
  np.testing.assert_array_equal(one, two)
  level = np.sqrt(np.mean(one[1000:19000] ** 2))
  assert level == pytest.approx(0.05 * 10**-0.5, rel=0.03)
  silence = noise_masking.mask_segment(waveform, RATE, 1, 19, "silence")
  assert np.all(silence[1000:19000] == 0)


def test_same_seed_same_noise_in_the_attack():
  seen = []

  def transcribe(waveforms, sample_rate):
    seen.append(np.stack(waveforms))
    return [""] * len(waveforms)

  for seed in (0, 0, 1):
    noise_masking.noise_masking_attack(
      utterances(), transcribe, RATE, seed=seed, progress=False
    )
  np.testing.assert_array_equal(seen[0], seen[1])
  assert not np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"start": 2.0, "end": 1.0}, "start=2.0"),
    ({"end": 9.0}, "end=9.0"),
    ({"start": -0.1}, "start=-0.1"),
    ({"mask": "beep"}, "mask='beep'"),
  ],
)
def test_bad_masks(changes, message):
  arguments = {"start": 1.0, "end": 2.0, **changes}
  with pytest.raises(ValueError, match=message):
    noise_masking.mask_segment(np.ones(3000), RATE, **arguments)


def test_bad_utterances():
  with pytest.raises(ValueError, match="must not be empty"):
    noise_masking.noise_masking_attack([], None, RATE)
  wrong = noise_masking.MaskedUtterance(np.ones(9), "HI ADAM", "ADA", 0, 1)
  with pytest.raises(ValueError, match="secret='ADA'"):
    noise_masking.noise_masking_attack([wrong], None, RATE)


def test_too_few_strings():
  with pytest.raises(ValueError, match="3 strings for 4"):
    noise_masking.noise_masking_attack(
      utterances(), lambda w, r: [""] * 3, RATE, progress=False
    )


def test_rates_of_groups():
  answers = ["IS ADA", "IS GRACE", "IS ADA", "IS EMMY"]
  found = attack(lambda i: answers[i], groups=[4, 1, 1, 4])
  low, high = found["groups"]
  assert (low["group"], low["count"]) == (1, 2)
  assert (high["group"], high["count"]) == (4, 2)
  assert low["exact"]["estimate"] == 0 and high["exact"]["estimate"] == 1
  assert low["any_secret"]["estimate"] == 0.5
  assert found["exact"]["estimate"] == 0.5
  assert attack(lambda i: "")["groups"] == []
  with pytest.raises(ValueError, match="3 groups for 4 utterances"):
    attack(lambda i: "", groups=[1, 1, 1])
