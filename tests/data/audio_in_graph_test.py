"""Decoding inside tf.data against decoding on the host."""

import numpy as np
import pytest
import tensorflow as tf

from tests.data.audio_test import encoded, native, speechlike
from tf_pcc.data import audio, audio_in_graph


def test_pcm_and_wav_decode_without_tensorflow_io(monkeypatch):
  monkeypatch.setattr(audio_in_graph, "tensorflow_io", lambda: None)
  samples = np.array([-32768, 0, 1, 32767], np.int16)
  decoded = audio.decode_in_graph(tf.constant(samples.tobytes()), "pcm16")
  np.testing.assert_array_equal(decoded, samples / 32768)
  data = encoded(speechlike(50), 16000, "wav", "PCM_16")
  decoded = audio.decode_in_graph(tf.constant(data), "wav")
  np.testing.assert_array_equal(decoded, audio.decode(data)[0])
  with pytest.raises(tf.errors.InvalidArgumentError):
    audio.decode_in_graph(tf.constant(data), "wav", sample_rate=8000)


@native
@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "wav"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_decoding_inside_tf_data(kind, rate):
  wave = speechlike(rate, 2, rate)
  data = encoded(wave, rate, kind)
  dataset = tf.data.Dataset.from_tensors(data)
  (inside,) = dataset.map(
    lambda d: audio.decode_in_graph(d, kind)
  ).as_numpy_iterator()
  outside = audio.resample(*audio.decode(data))
  assert inside.dtype == np.float32
  if rate == 16000:
    np.testing.assert_allclose(inside, outside, atol=1e-6)
    return
  assert len(inside) == len(outside)
  middle = slice(400, -400)
  np.testing.assert_allclose(inside[middle], outside[middle], atol=0.01)


def test_without_tensorflow_io_compressed_audio_is_refused(monkeypatch):
  monkeypatch.setattr(audio_in_graph, "tensorflow_io", lambda: None)
  with pytest.raises(ValueError, match="kind='mp3'"):
    audio.decode_in_graph(tf.constant(b""), "mp3")


def test_unknown_kinds_are_refused():
  with pytest.raises(ValueError, match="kind='aiff'"):
    audio.decode_in_graph(tf.constant(b""), "aiff")
