"""A trained model as functions of tensors that need nothing of this package.

Only core TensorFlow operations: what `launch.export` saves loads with plain
TensorFlow, in Python, in TensorFlow Serving or in C++.
"""

from collections.abc import Callable

import tensorflow as tf

from models.layers import audible
from models.recogniser import Recogniser
from tf_pcc.data.text import Tokenizer


class Served(tf.Module):
  """From waveforms to transcripts; also chunk by chunk for streaming models.

  Args:
    model: built model of `models.registry`.
    tokenizer: its `tf_pcc.data.text.Tokenizer`.

  Attributes:
    functions: dict from a signature's name to its concrete function.
  """

  def __init__(self, model: Recogniser, tokenizer: Tokenizer):
    super().__init__()
    # TensorFlow does not see the layers that Keras models keep in lists.
    self._weights = [v.value for v in model.variables]
    # A tf.Module would take the model for a part of what is saved.
    self._recognise = _recognise_function(model)
    self._surfaces = tf.constant(
      [surface.encode() for surface in tokenizer.surfaces]
    )
    serve = tf.function(
      self.serve,
      input_signature=[
        tf.TensorSpec([None, None], tf.float32, "waveforms"),
        tf.TensorSpec([None], tf.int32, "lengths"),
      ],
      autograph=False,
    )
    self.functions = {"serving_default": serve.get_concrete_function()}
    if model.streams:
      self.functions.update(_streaming_functions(model, self.text))

  def serve(
    self, waveforms: tf.Tensor, lengths: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Transcribes.

    Args:
      waveforms: float32 [B, samples], 16 kHz, in [-1, 1], padded.
      lengths: int32 [B], samples of each; beyond the waveforms' end it is that
        end, below 0 it is 0.

    Returns:
      dict of transcripts, strings [B], token_ids, int32 [B, U] padded with 0,
      token_counts, int32 [B], and scores, float32 [B]: the natural
      log-probability of the greedy path. A waveform shorter than a frame gives
      an empty transcript and 0; one with samples that are not finite an empty
      transcript and -inf.

    Raises:
      tf.errors.InvalidArgumentError: If there are no waveforms, or not as many
        lengths.
    """
    with tf.control_dependencies(_checks(waveforms, lengths=lengths)):
      lengths = tf.identity(lengths)
      ids, counts, scores = self._recognise(waveforms, lengths)
    return {
      "transcripts": self.text(ids),
      "token_ids": ids,
      "token_counts": counts,
      "scores": scores,
    }

  def text(self, ids: tf.Tensor, strip: bool = True) -> tf.Tensor:
    """The strings of token ids, blanks left out.

    Args:
      ids: int32 [B, U].
      strip: bool, whether to leave out space at the ends.

    Returns:
      string [B].
    """
    pieces = tf.gather(self._surfaces, ids)
    joined = tf.strings.reduce_join(pieces, axis=1)
    return tf.strings.strip(joined) if strip else joined


def _checks(waveforms, **others):
  """Assertions that there is a waveform, and a row of all others for each."""
  count = tf.shape(waveforms)[0]
  return [
    tf.debugging.assert_positive(count, "there must be a waveform"),
    *(
      tf.debugging.assert_equal(
        count, tf.shape(value)[0], f"{name} must be as many as waveforms"
      )
      for name, value in others.items()
    ),
  ]


def _recognise_function(model):
  """function (waveforms, lengths) -> ids, counts, scores."""

  def recognise(waveforms, lengths):
    samples = tf.shape(waveforms)[1]
    lengths = tf.clip_by_value(lengths, 0, samples)
    usable = audible.audible(waveforms, lengths)
    # Out before the network: what LiteRT makes of NaN and infinity differs.
    kept = usable[:, None] & tf.sequence_mask(lengths, samples)
    x = {"audio": tf.where(kept, waveforms, 0.0), "audio_length": lengths}
    ids, counts, scores = model.decode_scored(model(x, training=False))
    return (
      tf.where(usable[:, None], ids, 0),
      tf.where(usable, counts, 0),
      # -inf by a logarithm of 0: the converter of TensorFlow 2.21 writes a
      # constant one as the least float32, and LiteRT's sums end there.
      tf.where(usable, scores, tf.math.log(tf.cast(usable, scores.dtype))),
    )

  return recognise


def litert_function(model: Recogniser) -> Callable[..., dict[str, tf.Tensor]]:
  """The function that a LiteRT model computes, for one utterance.

  Strings are left to the caller, for LiteRT has few operations on them.

  Args:
    model: built model of `models.registry`.

  Returns:
    `tf.function` (waveforms float32 [1, samples], lengths int32 [1]) -> dict of
    token_ids int32 [1, U], token_counts int32 [1], scores float32 [1].
  """
  recognise = _recognise_function(model)

  def run(waveforms, lengths):
    ids, counts, scores = recognise(waveforms, lengths)
    return {"token_ids": ids, "token_counts": counts, "scores": scores}

  return tf.function(
    run,
    input_signature=[
      tf.TensorSpec([1, None], tf.float32, "waveforms"),
      tf.TensorSpec([1], tf.int32, "lengths"),
    ],
    autograph=False,
  )


def _streaming_functions(model, text):
  """The signatures of a streaming model.

  The state's tensors are inputs and outputs of their own, by their names with
  "state_" before.
  """
  names = sorted(model.state_spec())
  chunk = model.chunk_samples

  def start(batch):
    check = tf.debugging.assert_positive(batch, "batch must be at least 1")
    with tf.control_dependencies([check]):
      state = model.initial_state(tf.identity(batch))
    return {f"state_{name}": state[name] for name in names}

  def step(waveforms, lengths, **state):
    checks = _checks(waveforms, lengths=lengths, **state)
    size = tf.debugging.assert_equal(
      tf.shape(waveforms)[1], chunk, f"waveforms must have {chunk} samples each"
    )
    with tf.control_dependencies([*checks, size]):
      waveforms = tf.ensure_shape(tf.identity(waveforms), [None, chunk])
      lengths = tf.identity(lengths)
      state = {name: tf.identity(state[f"state_{name}"]) for name in names}
    outputs, state = model.step(waveforms, state, lengths)
    found = {
      "token_ids": outputs["ids"],
      "token_counts": outputs["id_length"],
      # Spaces kept: the pieces of a stream are joined.
      "texts": text(outputs["ids"], strip=False),
      "finite": outputs["finite"],
    }
    return {**found, **{f"state_{name}": state[name] for name in names}}

  specs = {
    f"state_{name}": tf.TensorSpec(spec.shape, spec.dtype, f"state_{name}")
    for name, spec in model.state_spec().items()
  }
  return {
    "streaming_start": tf.function(
      start, autograph=False
    ).get_concrete_function(tf.TensorSpec([], tf.int32, "batch")),
    "streaming_step": tf.function(step, autograph=False).get_concrete_function(
      # Of any size, so that a wrong one meets the message above.
      tf.TensorSpec([None, None], tf.float32, "waveforms"),
      tf.TensorSpec([None], tf.int32, "lengths"),
      **specs,
    ),
  }
