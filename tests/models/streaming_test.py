"""A stream, however it is cut, gives what the whole utterance gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import registry, streaming
from models.layers import attention, features

VOCAB = 7
SAMPLES = 12000


def _build(seed=0, **encoder):
  """A tiny model of large random weights, so that it says much."""
  encoder = {
    "dim": 8,
    "blocks": 2,
    "heads": 2,
    "kernel": 3,
    "chunk_frames": 3,
    "left_chunks": 2,
    **encoder,
  }
  model = registry.build_model(
    "streaming_conformer_ctc",
    {"encoder": encoder, "features": {"mels": 16}},
    VOCAB,
  )
  rng = np.random.default_rng(seed)
  for variable in model.trainable_variables:
    variable.assign(variable + 0.3 * rng.normal(size=variable.shape))
  model.adapt([{"audio": _audio(), "audio_length": np.full(3, SAMPLES)}])
  model.head.bias.assign([-3.0] + [0.0] * (VOCAB - 1))
  model.head.kernel.assign(3 * rng.normal(size=model.head.kernel.shape))
  return model


def _audio(batch=3, seed=1):
  """Tones that change every 50 ms."""
  rng = np.random.default_rng(seed)
  pitch = np.repeat(rng.uniform(0.05, 2, [batch, SAMPLES // 800]), 800, axis=1)
  audio = 0.2 * np.sin(np.cumsum(pitch, axis=1))
  audio += 0.01 * rng.normal(size=audio.shape)
  return audio.astype(np.float32)


def _stream(model, audio, lengths, step=None):
  """Logits, frames and token ids of all chunks, for each utterance."""
  step, chunk = step or model.step, model.chunk_samples
  state = model.initial_state(len(audio))
  found = [([], []) for _ in audio]
  for start in range(0, audio.shape[1], chunk):
    part = audio[:, start : start + chunk]
    # What lies behind the end of the sound may be anything.
    part = np.pad(
      part, [[0, 0], [0, chunk - part.shape[1]]], constant_values=np.nan
    )
    length = np.clip(lengths - start, 0, chunk).astype(np.int32)
    outputs, state = step(tf.constant(part), state, tf.constant(length))
    for row, (logits, ids) in enumerate(found):
      logits.append(outputs["logits"][row, : outputs["length"][row]])
      ids += outputs["ids"][row, : outputs["id_length"][row]].numpy().tolist()
  return [(np.concatenate(logits), ids) for logits, ids in found]


@pytest.mark.parametrize(
  "encoder",
  [
    {},
    {"chunk_frames": 1, "left_chunks": 7},
    {"chunk_frames": 4, "left_chunks": 0, "subsampling_factor": 2},
    {"chunk_frames": 5, "kernel": 8, "subsampling_factor": 6},
    {"subsampling": "conv2d", "blocks": 1},
    {"chunk_frames": 40, "left_chunks": 1},
    {"chunk_frames": 3, "left_chunks": 2, "position": "rotary"},
  ],
  ids=str,
)
def test_stream_equals_the_whole(encoder):
  model, audio = _build(**encoder), _audio()
  lengths = np.array([SAMPLES, 7077, 100], np.int32)
  want = model({"audio": audio, "audio_length": lengths})
  ids, counts = model.decode(want)
  got = _stream(model, audio, lengths, streaming.compile_step(model, batch=3))
  said = 0
  for row, (logits, tokens) in enumerate(got):
    count = int(want["length"][row])
    assert len(logits) == count == model.frames(lengths[row])
    np.testing.assert_allclose(logits, want["logits"][row, :count], atol=1e-4)
    assert tokens == ids[row, : counts[row]].numpy().tolist()
    said += len(tokens)
  assert said


def test_masks_of_the_whole_keep_to_chunks():
  model, audio = _build(chunk_frames=2, left_chunks=1, blocks=1), _audio(1)
  chunk = model.chunk_samples
  x = {"audio": audio, "audio_length": np.array([SAMPLES], np.int32)}
  want = model(x)["logits"][0].numpy()
  for changed in (2, 4):
    other = audio.copy()
    other[:, changed * chunk : (changed + 1) * chunk] *= -0.5
    other[:, changed * chunk + 50] += 0.3
    got = model({**x, "audio": other})["logits"][0].numpy()
    differs = np.abs(got - want).max(axis=1) > 1e-5
    # Its own chunk changes, one behind sees it, the carried samples and frames
    # reach into the next; nothing before does.
    assert not differs[: changed * 2].any()
    assert differs[changed * 2 : (changed + 1) * 2].any()
    assert not differs[(changed + 4) * 2 :].any()


def test_pieces_of_any_size_and_streams_side_by_side():
  model, audio = _build(), _audio()
  step = streaming.compile_step(model)
  rng = np.random.default_rng(5)
  for row in range(2):
    length = SAMPLES - 333 * row
    outputs = model(
      {
        "audio": audio[row : row + 1],
        "audio_length": np.array([length], np.int32),
      }
    )
    ids, counts = model.decode(outputs)
    cuts = np.sort(rng.integers(0, length, 9))
    stream, got = streaming.Stream(model, step), []
    for piece in np.split(audio[row, :length], cuts):
      got += stream.accept(piece)
    got += stream.finish()
    assert got == ids[0, : counts[0]].numpy().tolist() != []


def test_step_under_xla_and_in_bfloat16():
  model, audio = _build(blocks=1), _audio()
  lengths = np.array([SAMPLES, 5000, 9999], np.int32)
  want = _stream(model, audio, lengths)
  compiled = streaming.compile_step(model, batch=3, jit_compile=True)
  for ours, theirs in zip(_stream(model, audio, lengths, compiled), want):
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
    assert ours[1] == theirs[1]
  keras.config.set_dtype_policy("mixed_bfloat16")
  low = _build(blocks=1)
  assert all(
    tensor.dtype in (tf.float32, tf.int32)
    for tensor in low.initial_state(1).values()
  )
  whole = low({"audio": audio, "audio_length": lengths})["logits"]
  for row, (logits, _) in enumerate(_stream(low, audio, lengths)):
    np.testing.assert_allclose(logits, whole[row, : len(logits)], atol=0.3)


def test_saved_model_streams(tmp_path):
  model, audio = _build(blocks=1), _audio(1)
  state = model.state_spec(None)

  class Server(tf.Module):
    @tf.function(
      input_signature=[
        tf.TensorSpec([None, model.chunk_samples], tf.float32, "audio"),
        state,
      ],
      autograph=False,
    )
    def step(self, audio, state):
      return model.step(audio, state)

  server = Server()
  server.variables_ = [v.value for v in model.variables]
  tf.saved_model.save(server, str(tmp_path))
  loaded = tf.saved_model.load(str(tmp_path))
  chunk = audio[:, : model.chunk_samples]
  start = model.initial_state(1)
  assert {k: v.shape[1:] for k, v in start.items()} == {
    k: v.shape[1:] for k, v in state.items()
  }
  for _ in range(2):
    want, after = model.step(chunk, start)
    got, start = loaded.step(chunk, start)
    np.testing.assert_allclose(got["logits"], want["logits"], atol=1e-5)
    for name, tensor in after.items():
      assert tensor.shape == start[name].shape
      assert tensor.dtype == start[name].dtype == state[name].dtype


def test_same_label_across_chunks_is_one_token():
  def logits(labels):
    return tf.one_hot([labels], VOCAB)

  label, said = tf.constant([0]), []
  for part, length in (
    ([1, 1, 2], 3),
    ([2, 2, 2], 3),
    ([2, 0, 2], 3),
    ([3, 4, 4], 0),
    ([2, 3, 0], 2),
    ([3, 3, 3], 3),
  ):
    ids, count, label = streaming._new_tokens(
      logits(part), tf.constant([length]), label
    )
    said += ids[0, : count[0]].numpy().tolist()
  assert said == [1, 2, 2, 3]


def test_what_is_not_finite_counts_as_silence():
  model, audio = _build(), _audio()
  lengths = np.full(3, SAMPLES, np.int32)
  audio[1, 10:20] = 0
  want = _stream(model, audio, lengths)
  for value in (np.nan, np.inf, 1e30):
    audio[1, 10:20] = value
    got = _stream(model, audio, lengths)
    for row in range(3):
      np.testing.assert_array_equal(got[row][0], want[row][0])
  chunk = audio[:, : model.chunk_samples]
  outputs, _ = model.step(chunk, model.initial_state(3))
  assert outputs["finite"].numpy().tolist() == [True, False, True]


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"encoder": {"causal": False}}, "causal=True.*causal=False"),
    ({"encoder": {"chunk_frames": 0}}, "chunk_frames above 0.*chunk_frames=0"),
    ({"encoder": {"chunk_frames": -1}}, "chunk_frames=-1"),
    ({"features": {"causal": False}}, "features.causal=False"),
    ({"features": {"normalization": "utterance"}}, "normalization='utterance'"),
  ],
)
def test_what_cannot_stream_is_refused(config, message):
  with pytest.raises(ValueError, match=f"Received:.*{message}|{message}"):
    registry.build_model("streaming_conformer_ctc", config, VOCAB)


def test_chunk_mask():
  got = attention.chunk_mask(5, 2, 1).numpy().astype(int)
  want = [[1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0]] * 2 + [[0, 0, 1, 1, 1]]
  np.testing.assert_array_equal(got, want)


def test_causal_features_are_frames_of_the_waveform_after_silence():
  plain = features.LogMel(mels=8, normalization="none")
  causal = features.LogMel(mels=8, normalization="none", causal=True)
  audio = tf.random.stateless_normal([2, 4000], [1, 2])
  lengths = tf.constant([4000, 1234])
  got, frames = causal(audio, lengths)
  want, _ = plain(tf.pad(audio, [[0, 0], [240, 0]]), lengths + 240)
  np.testing.assert_allclose(got, want, atol=1e-5)
  np.testing.assert_array_equal(frames, lengths // 160)
  np.testing.assert_array_equal(causal.frames(lengths), frames)
  with pytest.raises(ValueError, match="causal=True.*causal=False"):
    plain.step(audio, lengths, plain.initial_state(2))
  with pytest.raises(ValueError, match="hop_ms=30"):
    features.LogMel(causal=True, hop_ms=30)
