"""Speech synthesis: repeatable, whatever the number of processes."""

import numpy as np
import pytest

from tf_pcc.data import tts

TEXTS = ["HELLO WORLD", "GREEN GARDEN", "SEVEN HORSES", "A RIVER", "MUSIC"]


def _engine(name):
  pytest.importorskip(
    {"nanotts": "py_nanotts", "espeak": "espeakng_loader"}[name],
    reason=f"speaks with {name}",
  )
  names = {
    "nanotts": ("en-US", "en-GB"),
    "espeak": ("en-us", "en-gb-scotland+f1"),
  }[name]
  return [
    tts.Voice(names[i % 2], 0.8 + 0.1 * i, 0.9 + 0.1 * i, name)
    for i in range(len(TEXTS))
  ]


@pytest.mark.parametrize("engine", tts.ENGINES)
def test_the_number_of_processes_changes_no_bit(engine):
  voices = _engine(engine)
  one = tts.synthesize(TEXTS, voices, processes=1, unit=2)
  three = tts.synthesize(TEXTS, voices, processes=3, unit=2)
  assert len(one) == len(three) == len(TEXTS)
  for a, b in zip(one, three):
    assert a.dtype == np.int16
    np.testing.assert_array_equal(a, b)
    assert 3000 < len(a) < 60000 and np.abs(a.astype(int)).max() > 1000


@pytest.mark.parametrize("engine", tts.ENGINES)
def test_rate_pitch_and_voice_are_heard(engine):
  plain = _engine(engine)[0]
  first, second = {v.name: v for v in _engine(engine)}
  normal, quick, other = tts.synthesize(
    [TEXTS[0]] * 3,
    [
      tts.Voice(plain.name, engine=engine),
      tts.Voice(plain.name, rate=2, engine=engine),
      tts.Voice(second if first == plain.name else first, engine=engine),
    ],
  )
  assert len(quick) < 0.8 * len(normal)
  assert len(other) != len(normal) or (other != normal).any()
  low, high = tts.synthesize(
    [TEXTS[0]] * 2,
    [tts.Voice(plain.name, pitch=p, engine=engine) for p in (0.6, 1.8)],
  )
  assert _pitch(high) > 1.15 * _pitch(low)


def _pitch(samples):
  """Median over frames of the strongest autocorrelation lag's frequency."""
  found = []
  for start in range(0, len(samples) - 1024, 512):
    frame = samples[start : start + 1024].astype(float)
    if np.abs(frame).max() < 2000:
      continue
    frame -= frame.mean()
    match = np.correlate(frame, frame, "full")[1023:]
    lag = 40 + match[40:320].argmax()
    found.append(16000 / lag)
  return np.median(found)


def test_capitals_are_not_spelled_out():
  voices = _engine("nanotts")
  capitals, small = (
    tts.synthesize([text], voices[0]) for text in ("US IT", "us it")
  )
  np.testing.assert_array_equal(capitals[0], small[0])


def test_a_missing_engine_says_what_to_install(monkeypatch):
  monkeypatch.setattr(
    tts,
    "_RUN",
    "import sys; sys.modules['py_nanotts'] = None\n" + tts._RUN,
  )
  with pytest.raises(ValueError, match=r"pip install .tf_pcc\[speech\]"):
    tts.synthesize(["HELLO"], tts.Voice())


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: tts.Voice(engine="festival"), "engine='festival'"),
    (lambda: tts.Voice(pitch=3), "pitch=3"),
    (lambda: tts.Voice(rate=0), "rate=0"),
    (lambda: tts.synthesize(["A"], []), "Received: 0"),
    (
      lambda: tts.synthesize([""], tts.Voice("en-us", engine="espeak")),
      "no sound for ''",
    ),
    (
      lambda: tts.synthesize(["A"], tts.Voice("en-us+f3", engine="espeak")),
      "'en-us.f3' is noise",
    ),
    (
      lambda: tts.synthesize(["A"], tts.Voice("xx-xx", engine="espeak")),
      "no voice 'xx-xx'",
    ),
    (lambda: tts.synthesize(["A"], tts.Voice("xx-XX")), "xx-XX"),
  ],
)
def test_bad_arguments(call, message):
  _engine("nanotts"), _engine("espeak")
  with pytest.raises(ValueError, match=message):
    call()
