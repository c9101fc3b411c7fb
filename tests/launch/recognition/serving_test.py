"""What is exported equals the model, for every family and tokenizer."""

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from launch.recognition import litert, serving
from models import registry
from tf_pcc.data import text

TEXTS = ("AB", "BA", "A B", "BB A", "ABBA")
_CONFORMER = {"dim": 16, "blocks": 1, "heads": 2, "kernel": 5}
_TRANSDUCER = {"encoder": _CONFORMER, "prediction_dim": 16, "joint_dim": 16}
_CHUNKS = {"chunk_frames": 4, "left_chunks": 2}
FAMILIES = {
  "conformer_ctc": {"encoder": _CONFORMER},
  "lstm_ctc": {"encoder": {"units": 16, "layers": 1}},
  "streaming_conformer_ctc": {"encoder": {**_CONFORMER, **_CHUNKS}},
  "conformer_transducer": _TRANSDUCER,
  "hybrid": _TRANSDUCER,
}
each_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="module")
def tokenizer():
  return text.build_tokenizer("character", TEXTS)


@pytest.fixture(scope="module")
def make_model(tokenizer):
  """A function of a family's name -> a model that says something."""

  def make(name):
    keras.utils.set_random_seed(0)
    model = registry.build_model(
      name,
      {"features": {"mels": 16}, "blank_prior": 0.3, **FAMILIES[name]},
      tokenizer.vocab_size,
    )
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
      if len(variable.shape) == 2:
        scale = 2 / np.sqrt(variable.shape[0])
        variable.assign(rng.normal(0, scale, variable.shape))
    return model

  return make


@pytest.fixture(scope="module")
def make_phone(make_model):
  """A function of a family's name -> model, function and its LiteRT runner."""

  @functools.cache
  def make(name):
    model = make_model(name)
    function = serving.litert_function(model)
    content = litert.convert(function, [v.value for v in model.variables])
    # Its own operations only: none of TensorFlow's.
    assert b"Flex" not in content
    interpreter = tf.lite.Interpreter(model_content=content)
    return model, function, interpreter.get_signature_runner()

  return make


def waveforms(lengths):
  rng = np.random.default_rng(0)
  audio = rng.uniform(-0.5, 0.5, [len(lengths), max(lengths)])
  # Loudness that changes, so that not all frames sound alike.
  audio *= np.sin(np.arange(max(lengths)) / 700)
  for row, length in zip(audio, lengths):
    row[length:] = 0
  return audio.astype(np.float32)


@each_family
def test_served_equals_the_model(name, make_model, tokenizer):
  model = make_model(name)
  serve = serving.Served(model, tokenizer).functions["serving_default"]
  lengths = np.array([9000, 16000, 100, 0], np.int32)
  audio = waveforms(lengths)
  found = serve(waveforms=tf.constant(audio), lengths=tf.constant(lengths))
  outputs = model({"audio": audio, "audio_length": lengths})
  ids, counts, scores = model.decode_scored(outputs)
  np.testing.assert_array_equal(found["token_ids"], ids)
  np.testing.assert_array_equal(found["token_counts"], counts)
  np.testing.assert_allclose(found["scores"], scores, rtol=1e-4)
  want = [tokenizer.decode(i[:n]) for i, n in zip(ids.numpy(), counts.numpy())]
  assert [t.decode() for t in found["transcripts"].numpy()] == want
  assert any(want) and want[2:] == ["", ""]
  assert found["scores"].numpy()[2:].tolist() == [0, 0]


@each_family
def test_unusual_input_is_the_same_in_the_model_and_served(
  name, make_model, tokenizer
):
  model = make_model(name)
  serve = serving.Served(model, tokenizer).functions["serving_default"]
  clean = waveforms([8000] * 4)
  audio = clean.copy()
  audio[0, 300], audio[1, 4000] = np.nan, np.inf
  given = np.array([8000, 8000, 99999, -5], np.int32)
  found = serve(waveforms=tf.constant(audio), lengths=tf.constant(given))
  assert found["token_counts"].numpy()[[0, 1, 3]].tolist() == [0, 0, 0]
  assert found["scores"].numpy()[[0, 1, 3]].tolist() == [-np.inf, -np.inf, 0]
  outputs = model({"audio": audio, "audio_length": given})
  for recognised in (model.decode(outputs), model.decode_scored(outputs)):
    np.testing.assert_array_equal(recognised[0], found["token_ids"])
    np.testing.assert_array_equal(recognised[1], found["token_counts"])
  # Alone, with its true length, and beside what is not finite: all the same.
  alone = serve(
    waveforms=tf.constant(clean[2:3]), lengths=tf.constant([8000], tf.int32)
  )
  assert alone["transcripts"][0] == found["transcripts"][2]
  np.testing.assert_allclose(alone["scores"][0], found["scores"][2], rtol=1e-4)


def test_what_cannot_be_served_says_so(make_model, tokenizer):
  served = serving.Served(make_model("conformer_ctc"), tokenizer)
  serve = served.functions["serving_default"]
  for batch, lengths, named in (
    (0, [], "there must be a waveform"),
    (2, [100], "lengths must be as many as waveforms"),
  ):
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
      serve(
        waveforms=tf.zeros([batch, 100]), lengths=tf.constant(lengths, tf.int32)
      )


@each_family
def test_one_sample_that_is_not_finite(name, make_phone, tokenizer):
  """Wherever it is within the length: no words; behind it: no matter."""
  model, _, phone = make_phone(name)
  served = serving.Served(model, tokenizer).functions["serving_default"]
  clean = waveforms([8000])
  want = served(waveforms=tf.constant(clean), lengths=tf.constant([7900]))
  assert want["token_counts"][0] > 0
  decode = tf.function(lambda x: model.decode(model(x)), autograph=False)
  window = model.log_mel.window
  for value in (np.nan, np.inf, -np.inf, 1e30, -1e16):
    # Behind the last whole window, and in a waveform shorter than one, too.
    for place, length in ((4000, 7900), (7899, 7900), (5, window - 300)):
      audio = clean.copy()
      audio[0, place] = value
      lengths = np.int32([length])
      for found in (
        served(waveforms=tf.constant(audio), lengths=tf.constant(lengths)),
        phone(waveforms=audio, lengths=lengths),
      ):
        assert found["token_counts"][0] == 0 and not np.any(found["token_ids"])
        assert found["scores"][0] == -np.inf
      x = {"audio": audio, "audio_length": lengths}
      assert decode(x)[1][0] == 0
    audio = clean.copy()
    audio[0, 7950:] = value
    for found in (
      served(waveforms=tf.constant(audio), lengths=tf.constant([7900])),
      phone(waveforms=audio, lengths=np.int32([7900])),
    ):
      count = int(want["token_counts"][0])
      assert found["token_counts"][0] == count
      np.testing.assert_array_equal(
        found["token_ids"][:, :count], want["token_ids"][:, :count]
      )
      np.testing.assert_allclose(found["scores"], want["scores"], rtol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_stream_goes_on_after_what_is_not_finite(
  make_model, tokenizer, value
):
  model = make_model("streaming_conformer_ctc")
  functions = serving.Served(model, tokenizer).functions
  chunk = model.chunk_samples
  clean = waveforms([6 * chunk] * 2)
  clean[0, chunk + 100] = clean[0, chunk + 7] = 0
  spoiled = clean.copy()
  spoiled[0, chunk + 100], spoiled[0, chunk + 7] = value, -value

  def transcribe(audio):
    state = functions["streaming_start"](batch=tf.constant(2))
    for start in range(0, 6 * chunk, chunk):
      found = functions["streaming_step"](
        waveforms=tf.constant(audio[:, start : start + chunk]),
        lengths=tf.constant([chunk, chunk]),
        **state,
      )
      state = {k: v for k, v in found.items() if k.startswith("state_")}
      yield {k: v.numpy() for k, v in found.items()}

  for i, (want, found) in enumerate(
    zip(transcribe(clean), transcribe(spoiled))
  ):
    assert want.pop("finite").tolist() == [True, True]
    assert found.pop("finite").tolist() == [i != 1, True]
    for name in want:
      np.testing.assert_array_equal(found[name], want[name])
  # Behind a stream's end nothing is recognised.
  found = functions["streaming_step"](
    waveforms=tf.fill([2, chunk], value),
    lengths=tf.constant([0, 5]),
    **functions["streaming_start"](batch=tf.constant(2)),
  )
  assert found["finite"].numpy().tolist() == [True, False]
  for name, tensor in found.items():
    if tensor.dtype == tf.float32:
      assert np.isfinite(tensor).all(), name


def test_what_a_stream_cannot_take_says_so(make_model, tokenizer):
  model = make_model("streaming_conformer_ctc")
  functions = serving.Served(model, tokenizer).functions
  start, step = functions["streaming_start"], functions["streaming_step"]
  for batch in (0, -1):
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 1"):
      start(batch=tf.constant(batch))
  state, chunk = start(batch=tf.constant(2)), model.chunk_samples
  other = {**state, "state_keys": start(batch=tf.constant(3))["state_keys"]}
  for rows, samples, lengths, given, named in (
    (0, chunk, [], state, "there must be a waveform"),
    (2, chunk, [chunk], state, "lengths must be as many as waveforms"),
    (2, chunk, [chunk] * 2, other, "state_keys must be as many as waveforms"),
    (1, chunk, [chunk], state, "state_.* must be as many as waveforms"),
    (2, chunk - 1, [9] * 2, state, f"waveforms must have {chunk} samples"),
    (2, chunk + 1, [9] * 2, state, f"waveforms must have {chunk} samples"),
  ):
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
      step(
        waveforms=tf.zeros([rows, samples]),
        lengths=tf.constant(lengths, tf.int32),
        **given,
      )
  found = step(
    waveforms=tf.zeros([2, chunk]), lengths=tf.constant([chunk, 0]), **state
  )
  assert found["finite"].shape == [2]


def test_a_stream_says_what_the_whole_says(make_model, tokenizer):
  model = make_model("streaming_conformer_ctc")
  functions = serving.Served(model, tokenizer).functions
  lengths = np.array([16000, 11111], np.int32)
  audio = waveforms(lengths)
  whole = functions["serving_default"](
    waveforms=tf.constant(audio), lengths=tf.constant(lengths)
  )
  state = functions["streaming_start"](batch=tf.constant(2))
  chunk = model.chunk_samples
  texts, ids = ["", ""], [[], []]
  for start in range(0, audio.shape[1], chunk):
    part = np.zeros([2, chunk], np.float32)
    part[:, : audio.shape[1] - start] = audio[:, start : start + chunk]
    found = functions["streaming_step"](
      waveforms=tf.constant(part),
      lengths=tf.constant(np.clip(lengths - start, 0, chunk)),
      **state,
    )
    state = {k: v for k, v in found.items() if k.startswith("state_")}
    for row in range(2):
      count = int(found["token_counts"][row])
      ids[row] += found["token_ids"][row, :count].numpy().tolist()
      texts[row] += found["texts"][row].numpy().decode()
  for row in range(2):
    count = int(whole["token_counts"][row])
    assert ids[row] == whole["token_ids"][row, :count].numpy().tolist()
    assert texts[row].strip() == whole["transcripts"][row].numpy().decode()
  assert all(texts)


class _Echo:
  """Hears the token ids that are its waveform."""

  variables = ()
  streams = False

  def __call__(self, x, training):
    return x

  def decode_scored(self, x):
    ids = tf.cast(x["audio"], tf.int32)
    return ids, x["audio_length"], tf.zeros_like(x["audio"][:, 0])


@pytest.mark.parametrize(
  "kind", ["character", "word", "wordpiece", "sentencepiece"]
)
def test_every_tokenizer_without_its_library(kind):
  if kind == "sentencepiece":
    pytest.importorskip("sentencepiece", reason="learns sentencepieces")
  generator = random.Random(0)
  words = ["".join(generator.choices("ABCDE'", k=4)) for _ in range(30)]
  texts = [" ".join(generator.choices(words, k=4)) for _ in range(200)]
  tokenizer = text.build_tokenizer(kind, texts, size=60)
  served = serving.Served(_Echo(), tokenizer)
  ids = [tokenizer.encode(t) for t in texts[:20]]
  ids += [
    generator.choices(range(tokenizer.vocab_size), k=9) for _ in range(30)
  ]
  ids.append([])
  width = max(map(len, ids))
  padded = np.array([[*row, *[0] * (width - len(row))] for row in ids])
  found = served.functions["serving_default"](
    waveforms=tf.constant(padded, tf.float32),
    lengths=tf.constant([len(row) for row in ids]),
  )
  recognised = [t.decode() for t in found["transcripts"].numpy()]
  assert recognised == [tokenizer.decode(row) for row in ids]
  assert recognised[:20] == texts[:20] and recognised[-1] == ""


@each_family
def test_litert_gives_the_same_transcripts(name, make_phone):
  _, function, run = make_phone(name)
  lengths = [16000, 9000, 12345, 500, 0, *range(6000, 9000, 200)]
  assert len(lengths) == 20
  audio = waveforms(lengths)
  audio[5, 10] = np.nan
  said = 0
  for row, length in zip(audio, lengths):
    found = run(waveforms=row[None, :length], lengths=np.int32([length]))
    want = function(tf.constant(row[None, :length]), tf.constant([length]))
    count = int(want["token_counts"][0])
    said += count
    assert found["token_counts"][0] == count
    np.testing.assert_array_equal(
      found["token_ids"][0, :count], want["token_ids"][0, :count]
    )
    np.testing.assert_allclose(
      found["scores"], want["scores"], rtol=1e-3, atol=1e-4
    )
  assert said
  # The error that is documented.
  for batch, count in ((2, 2), (1, 2), (2, 1)):
    with pytest.raises(RuntimeError, match="2 != 1.*failed to prepare"):
      run(waveforms=audio[:batch], lengths=np.full([count], 100, np.int32))
