"""A Conformer that transcribes while it listens.

Trained and evaluated on whole utterances with masks; `step` computes the same
numbers chunk after chunk, from a state of fixed size.
"""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from models import conformer, ctc, signatures
from models.decoding import ctc_decoding
from models.layers import audible

# As in `conformer.SIZES`, in chunks of 640 ms (tiny: 320 ms), with four chunks
# before. The chunks are this package's own.
SIZES = {
  name: dataclasses.replace(
    config,
    causal=True,
    chunk_frames=8 if name == "tiny" else 16,
    left_chunks=4,
  )
  for name, config in conformer.SIZES.items()
}
# Features that need nothing of an utterance's later part.
FEATURES = {"causal": True, "normalization": "global"}


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class StreamingConformerCTC(ctc.ConformerCTC):
  """`ConformerCTC` of chunks: a causal encoder and causal features.

  A frame sees its own chunk and `left_chunks` before, the depthwise convolution
  the past only, the features no statistics of the utterance. So the wait for a
  transcript is a chunk's length, and nothing is looked ahead beyond it.

  Args:
    vocab_size: as in `ctc.CTC`.
    encoder: `conformer.ConformerConfig` or its dict, causal, in chunks.
    features: as in `ctc.CTC`, with causal=True and another normalization than
      "utterance".
    specaugment: as in `ctc.CTC`.
    blank_prior: as in `ctc.CTC`.
    seed: as in `ctc.CTC`.

  Example:
    >>> model = StreamingConformerCTC(
    ...   vocab_size=30, encoder=SIZES["tiny"], features=FEATURES
    ... )
    >>> model.build_from_signature()
    >>> state = model.initial_state(batch=1)
    >>> audio = tf.zeros([1, model.chunk_samples])
    >>> outputs, state = model.step(audio, state)
    >>> outputs["logits"].shape, model.latency_seconds
    (TensorShape([1, 8, 30]), 0.32)

  References:
    Chen et al., arXiv 2010.11395, and Zhang et al., arXiv 2012.05481 (chunks of
    attention, causal convolution).
  """

  streams = True

  encoder: conformer.ConformerEncoder

  def build(self, input_shape: signatures.Shape | None = None) -> None:
    """Makes all weights.

    Args:
      input_shape: ignored.

    Raises:
      ValueError: If the encoder or the features need what is still to come.
    """
    config, features = self.encoder.config, self.log_mel
    if not (config.causal and config.chunk_frames and features.causal) or (
      features.normalization == "utterance"
    ):
      raise ValueError(
        "A streaming model's encoder must have causal=True and chunk_frames "
        "above 0, its features causal=True and normalization='global' or "
        f"'none'. Received: causal={config.causal}, "
        f"chunk_frames={config.chunk_frames}, "
        f"features.causal={features.causal}, "
        f"features.normalization={features.normalization!r}"
      )
    super().build(input_shape)

  @property
  def chunk_samples(self) -> int:
    """Samples that `step` takes."""
    config = self.encoder.config
    return config.chunk_frames * config.subsampling_factor * self.log_mel.hop

  @property
  def latency_seconds(self) -> float:
    """The algorithmic latency: how long a chunk's first sample waits."""
    return self.chunk_samples / self.log_mel.sample_rate

  def initial_state(self, batch: signatures.Size) -> dict[str, tf.Tensor]:
    """What `step` takes before a stream's first chunk.

    Args:
      batch: int, streams B.

    Returns:
      dict of float32 and int32 tensors [B, ...], of static shape but for B.
    """
    return {
      "audio": self.log_mel.initial_state(batch),
      "label": tf.zeros([batch], tf.int32),
      **self.encoder.initial_state(batch),
    }

  def state_spec(self, batch: int | None = None) -> dict[str, tf.TensorSpec]:
    """The state's shapes and dtypes, for signatures.

    Args:
      batch: int, or None for any.

    Returns:
      dict like `initial_state`'s of `tf.TensorSpec`.
    """
    return {
      name: tf.TensorSpec([batch, *tensor.shape[1:]], tensor.dtype, name)
      for name, tensor in self.initial_state(1).items()
    }

  def step(
    self,
    audio: tf.Tensor,
    state: dict[str, tf.Tensor],
    length: tf.Tensor | None = None,
  ) -> tuple[signatures.Outputs, dict[str, tf.Tensor]]:
    """Transcribes the next chunk of each stream.

    The logits of chunks one after another are those that `call` gives of the
    whole. A stream's last chunk may be short; after it the others may go on,
    and this one's lengths are 0. Samples that are not finite, or beyond 1e15,
    are replaced by silence: in the state they would spoil what follows.

    Args:
      audio: float32 [B, chunk_samples].
      state: what `initial_state` or the last step returned.
      length: int32 [B], valid samples, or None for all.

    Returns:
      dict of logits, float32 [B, chunk_frames, V], length, int32 [B], the valid
      frames, ids, int32 [B, chunk_frames], the new tokens of the greedy
      transcript, padded with 0, id_length, int32 [B], finite, bool [B], whether
      no sample was silenced; and the next state.
    """
    if length is None:
      valid = tf.fill([tf.shape(audio)[0]], self.chunk_samples)
    else:
      valid = length
    valid = tf.cast(valid, tf.int32)
    valid = tf.clip_by_value(valid, 0, self.chunk_samples)
    finite = audible.audible(audio, valid)
    audio = tf.where(audible.audible_samples(audio), audio, 0.0)
    features, length, past = self.log_mel.step(audio, valid, state["audio"])
    encoded, length, following = self.encoder.step(features, length, state)
    logits = self.head(encoded)
    ids, id_length, label = _new_tokens(logits, length, state["label"])
    outputs = {
      "logits": logits,
      "length": length,
      "ids": ids,
      "id_length": id_length,
      "finite": finite,
    }
    return outputs, {"audio": past, "label": label, **following}


def _new_tokens(logits, length, label):
  """Greedy tokens of a chunk, and its last label.

  A frame that says what the chunk before ended with is put in front, so that
  the same label is no token again.
  """
  before = tf.one_hot(label, tf.shape(logits)[-1], dtype=logits.dtype)
  ids, count = ctc_decoding.greedy(
    tf.concat([before[:, None], logits], axis=1), length + 1
  )
  old = tf.cast((label > 0) & (count > 0), tf.int32)
  ids = tf.where(old[:, None] > 0, ids[:, 1:], ids[:, :-1])
  best = tf.argmax(logits, axis=-1, output_type=tf.int32)
  last = tf.gather(best, tf.maximum(length - 1, 0), axis=1, batch_dims=1)
  return ids, count - old, tf.where(length > 0, last, label)


class Stream:
  """Feeds one utterance, in pieces of any size, to a streaming model.

  Args:
    model: `StreamingConformerCTC`.
    step: its compiled `step`, from `compile_step`, or None to compile one.

  Example:

  >>> model = StreamingConformerCTC(
  ...   vocab_size=30, encoder=SIZES["tiny"], features=FEATURES
  ... )
  >>> model.build_from_signature()
  >>> stream = Stream(model)
  >>> samples = np.zeros(8000, np.float32)
  >>> ids = stream.accept(samples[:1000]) + stream.accept(samples[1000:])
  >>> ids += stream.finish()
  """

  def __init__(
    self,
    model: StreamingConformerCTC,
    step: Callable[..., tuple[signatures.Outputs, dict[str, tf.Tensor]]]
    | None = None,
  ):
    self._step = step or compile_step(model)
    self._chunk = model.chunk_samples
    self._state = model.initial_state(1)
    self._waiting = np.zeros([0], np.float32)

  def accept(self, samples: Sequence[float] | np.ndarray) -> list[int]:
    """Transcribes the next samples.

    Args:
      samples: float [n] in [-1, 1], any number.

    Returns:
      The new token ids.
    """
    self._waiting = np.concatenate(
      [self._waiting, np.asarray(samples, np.float32)]
    )
    ids = []
    while len(self._waiting) >= self._chunk:
      ids += self._transcribe(self._waiting[: self._chunk])
      self._waiting = self._waiting[self._chunk :]
    return ids

  def finish(self) -> list[int]:
    """Ends the utterance; returns the token ids of what was waiting."""
    ids = self._transcribe(self._waiting)
    self._waiting = self._waiting[:0]
    return ids

  def _transcribe(self, samples):
    padded = np.pad(samples, [0, self._chunk - len(samples)])
    outputs, self._state = self._step(
      padded[None], self._state, np.array([len(samples)], np.int32)
    )
    count = int(outputs["id_length"][0])
    return outputs["ids"][0, :count].numpy().tolist()


def compile_step(
  model: StreamingConformerCTC, batch: int | None = 1, jit_compile: bool = False
) -> Callable[..., tuple[signatures.Outputs, dict[str, tf.Tensor]]]:
  """`model.step` as a `tf.function` of fixed shapes.

  Args:
    model: `StreamingConformerCTC`.
    batch: int, or None for any.
    jit_compile: bool, whether XLA compiles it.

  Returns:
    function (audio, state, length) like `model.step`.
  """
  return tf.function(
    model.step,
    input_signature=[
      tf.TensorSpec([batch, model.chunk_samples], tf.float32, "audio"),
      model.state_spec(batch),
      tf.TensorSpec([batch], tf.int32, "length"),
    ],
    autograph=False,
    jit_compile=jit_compile,
  )
