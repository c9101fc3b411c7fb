"""One record: samples that may be written, and their tf.train.Example."""

from typing import Any

import numpy as np

from tf_pcc.data import audio, flac
from tf_pcc.data.utterances import Utterance


def samples_of(waveform: Any) -> np.ndarray:
  """The samples of a waveform, as a record holds them.

  Args:
    waveform: int16 or float array `[samples]` in [-1, 1], or the ValueError
      that says why it cannot be read.

  Returns:
    int16 array `[samples]`.

  Raises:
    ValueError: If it is empty, of another shape or dtype, not finite, or was a
      ValueError.
  """
  if isinstance(waveform, ValueError):
    raise waveform
  waveform = np.asarray(waveform)
  if waveform.ndim != 1 or not waveform.size:
    raise ValueError(
      "The audio must have shape [samples], at least one. "
      f"Received: shape={waveform.shape}"
    )
  if waveform.dtype == np.int16:
    return waveform
  if waveform.dtype.kind != "f" or not np.isfinite(waveform).all():
    raise ValueError(
      "The audio must be int16 or finite floats. "
      f"Received: dtype={waveform.dtype}"
    )
  return audio.to_int16(waveform)


def example(
  utterance: Utterance, samples: np.ndarray, encoding: str, sample_rate: int
) -> bytes:
  """The serialised tf.train.Example of one record.

  Args:
    utterance: An `Utterance`.
    samples: int16 array `[samples]`.
    encoding: One of `ENCODINGS`.
    sample_rate: Rate in Hz.

  Returns:
    bytes, the same for the same arguments.
  """
  import tensorflow as tf

  if encoding == "flac":
    data = flac.copy_of(utterance.path, samples, sample_rate)
    data = data or audio.encode_flac(samples, sample_rate)
  else:
    data = samples.astype("<i2").tobytes()

  def text(value):
    return tf.train.Feature(
      bytes_list=tf.train.BytesList(value=[value.encode()])
    )

  feature = {
    "audio": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
    "encoding": text(encoding),
    "text": text(utterance.text),
    "id": text(utterance.id),
    "speaker": text(utterance.speaker),
    "seconds": tf.train.Feature(
      float_list=tf.train.FloatList(value=[len(samples) / sample_rate])
    ),
    "samples": tf.train.Feature(
      int64_list=tf.train.Int64List(value=[len(samples)])
    ),
  }
  example = tf.train.Example(features=tf.train.Features(feature=feature))
  # The order of a protocol buffer map is free unless it is asked to be fixed.
  return example.SerializeToString(deterministic=True)
