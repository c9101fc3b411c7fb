"""The driver: losses against NumPy, order, windows, what is traced."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from launch.plan import bridge, tracing
from launch.recognition import batches, driver
from models import registry
from tests.launch.plan import recognisers
from tf_pcc.data import records, text

LINES = ("A B", "B", "B A B", "A A")
RATE = 16000


def _reference_loss(logits, labels):
  """-log P(labels) by the forward recursion of CTC, float64."""
  log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
  states = [0]
  for label in labels:
    states += [label, 0]
  alpha = np.full(len(states), -np.inf)
  alpha[:2] = log_p[0, states[:2]]
  for frame in log_p[1:]:
    new = np.full(len(states), -np.inf)
    for s, label in enumerate(states):
      paths = [alpha[s]]
      if s:
        paths.append(alpha[s - 1])
      if s > 1 and label and label != states[s - 2]:
        paths.append(alpha[s - 2])
      new[s] = np.logaddexp.reduce(paths) + frame[label]
    alpha = new
  return -np.logaddexp(alpha[-1], alpha[-2])


@pytest.fixture(scope="module")
def tokenizer():
  return text.build_tokenizer("word", LINES)


@pytest.fixture
def model(tokenizer):
  return registry.build_model(
    "conformer_ctc",
    {
      "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
      "features": {"mels": 16},
    },
    tokenizer.vocab_size,
  )


@pytest.fixture
def speech():
  random = np.random.default_rng(0)
  noise = [random.uniform(-0.3, 0.3, n) for n in (4800, 8000, 16000, 6400)]
  return records.MemoryRecords(noise, LINES)


def test_losses_are_nats_per_token_whatever_the_batch(model, tokenizer, speech):
  expected, best = [], []
  for i, line in enumerate(LINES):
    audio = (speech.read(i) / 2**15).astype(np.float32)
    outputs = model(
      {"audio": audio[None], "audio_length": np.array([len(audio)])}
    )
    logits = np.asarray(outputs["logits"], np.float64)[0]
    labels = tokenizer.encode(line)
    expected.append(_reference_loss(logits, labels) / len(labels))
    path = np.argmax(logits, axis=1)
    best.append([a for a, b in zip(path, [0, *path]) if a != b and a])
  for batch in (3, 64):
    found = driver.Driver(model, tokenizer, batch)
    losses, transcripts = found.score(speech)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert transcripts == [tokenizer.decode(ids) for ids in best]
  assert found.transcribe(speech) == transcripts


def test_text_outside_the_vocabulary_has_no_loss(model, tokenizer):
  speech = records.MemoryRecords([np.ones(8000) * 0.1] * 2, ["A", "Z"])
  losses, transcripts = driver.Driver(model, tokenizer).score(speech)
  assert np.isfinite(losses[0]) and np.isnan(losses[1])
  assert transcripts[0] == transcripts[1]


def test_transcripts_come_in_the_order_of_the_records():
  """A network that says how long its input is, over several buckets."""

  class Lengths:
    chunk_samples, frame_seconds = None, 0.04

    def __call__(self, x, training):
      return x["audio_length"]

    def decode(self, lengths):
      return lengths[:, None], lengths * 0 + 1

  class Tokenizer:
    def encode_batch(self, texts, strict):
      return [[] for _ in texts]

    def decode(self, ids):
      return str(*ids)

  lengths = [5, 900, 40, 40, 1000, 7, 130, 1]
  spoken = records.MemoryRecords([np.zeros(n) for n in lengths], [""] * 8)
  for batch_size in (1, 3, 8, 50):
    found = driver.Driver(Lengths(), Tokenizer(), batch_size).transcribe(spoken)
    assert found == [str(n) for n in lengths]


def test_the_cores_share_a_batch(make_strategy):
  strategy = make_strategy(4)
  seen = []

  def double(x):
    seen.append(x["a"].shape)
    return 2 * x["a"], tf.reduce_sum(x["b"], axis=1)

  x = {
    "a": tf.range(8),
    "b": tf.reshape(tf.range(24.0), [8, 3]),
  }
  doubled, sums = driver.on_all_cores(strategy, double)(x)
  np.testing.assert_array_equal(doubled, 2 * np.arange(8))
  np.testing.assert_array_equal(sums, np.arange(24.0).reshape(8, 3).sum(1))
  assert set(map(tuple, seen)) == {(2,)}


def test_a_tpu_can_decode():
  """The bridge takes greedy decoding: static shapes and no strings."""
  strategy = tracing.tpu_strategy(2)
  model = recognisers.conformer(strategy, None)
  batches = [recognisers.speech(core)[0] for core in range(2)]

  def decode(x):
    return model.decode(model(x, training=False))

  data = tracing.distribute(strategy, batches)
  module = bridge.run(tracing.trace(strategy, decode, data))
  assert bridge.suspects(module) == {}


class Counting:
  """A network whose output is every 640 samples' first, in 16 bits."""

  frame_seconds = 0.04

  def __init__(self, streams=False):
    self.chunk_samples = 640 * 8 if streams else None
    self.traced = []

  def frames(self, samples):
    return samples // 640

  def __call__(self, x, training):
    audio = x["audio"]
    self.traced.append(tuple(audio.shape))
    frames = tf.shape(audio)[1] // 640
    numbers = tf.reshape(
      audio[:, : frames * 640], [tf.shape(audio)[0], frames, 640]
    )[:, :, 0]
    return {
      "numbers": tf.cast(numbers * 2.0**15, tf.int32),
      "length": x["audio_length"] // 640,
    }

  def decode(self, outputs):
    return outputs["numbers"], outputs["length"]


def _sound(frames, extra=0):
  """Sound whose frame t begins with sample t."""
  sound = np.zeros(frames * 640 + extra, np.int16)
  sound[: frames * 640 : 640] = np.arange(frames)
  return sound


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("seconds", [60.04, 68, 75.96, 76, 76.04, 200, 640.48])
def test_every_frame_of_long_sound_once(streams, seconds):
  frames = round(seconds * 25)
  sound = _sound(frames, extra=100)
  for batch_size in (1, 4):
    model = Counting(streams)
    found = driver.Driver(model, None, batch_size)
    ((key, (numbers, length)),) = found.run_sounds(
      model.decode, [("it", sound)], RATE
    )
    assert key == "it" and length == frames
    np.testing.assert_array_equal(numbers, np.arange(frames))
    assert {shape[1] for shape in model.traced} == {20 * RATE}


@pytest.mark.parametrize(
  "frames",
  [
    [10, 1600, 1500, 501, 4000, 1],
    # Sound as long as a window, before windows and after them.
    [480, 2000, 500],
    [2000, 450, 1700, 260],
  ],
)
def test_long_and_short_sound_in_one_run(frames):
  model = Counting()
  sounds = [_sound(count) for count in frames]
  found = driver.Driver(model, None, 3)
  results = dict(found.run_sounds(model.decode, enumerate(sounds), RATE))
  assert len(results) == len(frames)
  for key, count in enumerate(frames):
    numbers, length = results[key]
    assert length == count
    np.testing.assert_array_equal(numbers[:length], np.arange(count))


def test_nothing_is_traced_twice():
  model = Counting()
  found = driver.Driver(model, None, 2)
  sounds = [(i, _sound(count)) for i, count in enumerate((20, 20, 20, 9, 3))]
  for _ in range(2):
    results = dict(found.run_sounds(model.decode, sounds, RATE))
    assert sorted(results) == list(range(5))
  # Rows of 1.25 seconds: two, then one in the graph of two. Of the shortest: a
  # batch of two.
  assert sorted(model.traced) == [(2, RATE * 5 // 8), (2, RATE * 5 // 4)]


def test_sound_is_read_as_needed():
  read = 0

  def sounds():
    nonlocal read
    for key in range(100):
      read += 1
      yield key, _sound(20)

  model = Counting()
  found = driver.Driver(model, None, 4).run_sounds(model.decode, sounds(), RATE)
  assert len(list(itertools.islice(found, 4))) == 4 and read == 4


@pytest.mark.parametrize("by_length", [True, False])
def test_functions_are_given_every_sound_once(by_length):
  calls = []

  def transcribe(waveforms, sample_rate):
    assert sample_rate == RATE
    calls.append([len(w) for w in waveforms])
    return [str(int(w[0] * 2**15)) for w in waveforms]

  lengths = [300, 45000, 200, 50000, 100]
  sounds = [(i, np.full(n, i, np.int16)) for i, n in enumerate(lengths)]
  found = driver.run_function(transcribe, sounds, RATE, 2, by_length)
  assert sorted(found) == [(i, str(i)) for i in range(5)]
  if by_length:
    assert calls == [[300, 200], [45000, 50000], [100]]
  else:
    assert calls == [[300, 45000], [200, 50000], [100]]
  with pytest.raises(ValueError, match="one string a waveform"):
    list(driver.run_function(lambda w, r: [], sounds, RATE, 2))


def test_rows_of_long_sound_are_few():
  for most in (1, 8, 32, 1000):
    found = [batches.rows(seconds, most) for seconds in batches.SECONDS]
    assert found == sorted(found, reverse=True) and found[0] <= most
    assert found[-1] == 1
  assert batches.rows(10.0, 32) == 32
