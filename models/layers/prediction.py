"""Prediction networks of a transducer: the labels so far, as a vector.

Each has a parallel form for training, `network(labels)`, and a serial one for
decoding, `start` and `step`; both give the same numbers. The blank 0 stands for
the start of an utterance.
"""

from typing import Any, Protocol

import keras
import tensorflow as tf

from models import signatures


def _from_start(labels, vocab_size):
  """Labels with the start before them, as ids that an embedding can take.

  What is no label is left to the loss to refuse.
  """
  return tf.pad(tf.clip_by_value(labels, 0, vocab_size - 1), [[0, 0], [1, 0]])


class PredictionNetwork(Protocol):
  """What the loss and the decoders need of a prediction network.

  Attributes:
    dim: width of its output.
  """

  dim: int

  def __call__(self, labels: tf.Tensor) -> tf.Tensor:
    """int32 [B, U] to float [B, U + 1, dim]; row u has seen u labels.

    Args:
      labels: int32 [B, U].

    Returns:
      float [B, U + 1, dim].
    """
    ...

  def start(
    self, batch: signatures.Size
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Before any label: float [batch, dim], and the state for `step`.

    Args:
      batch: number of streams, or of hypotheses, B.

    Returns:
      float [batch, dim] and a tuple of tensors whose first axis is batch.
    """
    ...

  def step(
    self, label: tf.Tensor, state: tuple[tf.Tensor, ...]
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """One label further: int32 [N] and a state to float [N, dim] and a state.

    A state is a tuple of tensors whose first axis is N.

    Args:
      label: int32 [N], the label to append.
      state: what `start` or the last step returned.

    Returns:
      float [N, dim] and the next state.
    """
    ...


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class LSTMPrediction(keras.layers.Layer):
  """An embedding of the labels and one LSTM layer.

  Args:
    vocab_size: int, number of classes, the blank included.
    dim: int, width of embedding and LSTM.

  References:
    Graves, arXiv 1211.3711, section 2.1; one layer as in Gulati et al., arXiv
    2005.08100, section 3.2.
  """

  def __init__(self, vocab_size: int, dim: int, **kwargs: Any):
    super().__init__(**kwargs)
    self.vocab_size, self.dim = int(vocab_size), int(dim)
    policy = self.dtype_policy
    self.embedding = keras.layers.Embedding(vocab_size, dim, dtype=policy)
    self.lstm = keras.layers.LSTM(
      dim,
      return_sequences=True,
      # Keras does not annotate that a bool will do too.
      use_cudnn=False,  # pyright: ignore[reportArgumentType]
      dtype=policy,
    )

  def build(self, labels_shape: signatures.Shape | None = None) -> None:
    self.embedding.build((None, None))
    self.lstm.build((None, None, self.dim))
    self.built = True

  def call(self, labels: tf.Tensor) -> tf.Tensor:
    """int32 [B, U] to float [B, U + 1, dim]; row u has seen u labels.

    Args:
      labels: int32 [B, U].

    Returns:
      float [B, U + 1, dim].
    """
    return self.lstm(self.embedding(_from_start(labels, self.vocab_size)))

  def start(
    self, batch: signatures.Size
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Before any label: float [batch, dim], and the state for `step`.

    Args:
      batch: number of streams, or of hypotheses, B.

    Returns:
      float [batch, dim] and a tuple of tensors whose first axis is batch.
    """
    zeros = tf.zeros([batch, self.dim], self.compute_dtype)
    return self.step(tf.zeros([batch], tf.int32), (zeros, zeros))

  def step(
    self, label: tf.Tensor, state: tuple[tf.Tensor, ...]
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """One label further: int32 [N] and a state to float [N, dim] and a state.

    A state is a tuple of tensors whose first axis is N.

    Args:
      label: int32 [N], the label to append.
      state: what `start` or the last step returned.

    Returns:
      float [N, dim] and the next state.
    """
    output, state = self.lstm.cell(self.embedding(label), list(state))
    return output, tuple(state)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "vocab_size": self.vocab_size,
      "dim": self.dim,
    }


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class StatelessPrediction(keras.layers.Layer):
  """Embeddings of the last labels, side by side, and one dense layer.

  Without a recurrence the likelihood of a label depends on the last `context`
  labels only, so decoding carries a few integers.

  Args:
    vocab_size: int, number of classes, the blank included.
    dim: int, width of the embedding and of the output.
    context: int, labels that are looked back on.

  References:
    Ghodsi et al., "RNN-Transducer with Stateless Prediction Network", ICASSP
    2020 (the last label); Botros et al., "Tied & Reduced RNN-T Decoder", arXiv
    2109.07513 (embeddings of the last N labels).
  """

  def __init__(
    self, vocab_size: int, dim: int, context: int = 2, **kwargs: Any
  ):
    super().__init__(**kwargs)
    self.vocab_size, self.dim = int(vocab_size), int(dim)
    self.context = int(context)
    policy = self.dtype_policy
    self.embedding = keras.layers.Embedding(vocab_size, dim, dtype=policy)
    self.dense = keras.layers.Dense(dim, activation="tanh", dtype=policy)

  def build(self, labels_shape: signatures.Shape | None = None) -> None:
    self.embedding.build((None, None))
    self.dense.build((None, None, self.context * self.dim))
    self.built = True

  def call(self, labels: tf.Tensor) -> tf.Tensor:
    """int32 [B, U] to float [B, U + 1, dim]; row u has seen u labels.

    Args:
      labels: int32 [B, U].

    Returns:
      float [B, U + 1, dim].
    """
    labels = _from_start(labels, self.vocab_size)
    columns = tf.shape(labels)[1]
    padded = tf.pad(labels, [[0, 0], [self.context - 1, 0]])
    last = [padded[:, i : i + columns] for i in range(self.context)]
    return self._network(tf.stack(last, axis=-1))

  def start(
    self, batch: signatures.Size
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Before any label: float [batch, dim], and the state for `step`.

    Args:
      batch: number of streams, or of hypotheses, B.

    Returns:
      float [batch, dim] and a tuple of tensors whose first axis is batch.
    """
    last = tf.zeros([batch, self.context], tf.int32)
    return self._network(last), (last,)

  def step(
    self, label: tf.Tensor, state: tuple[tf.Tensor, ...]
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """One label further: int32 [N] and a state to float [N, dim] and a state.

    A state is a tuple of tensors whose first axis is N.

    Args:
      label: int32 [N], the label to append.
      state: what `start` or the last step returned.

    Returns:
      float [N, dim] and the next state.
    """
    last = tf.concat([state[0][:, 1:], label[:, None]], axis=1)
    return self._network(last), (last,)

  def _network(self, last):
    vectors = self.embedding(last)
    shape = tf.concat([tf.shape(last)[:-1], [self.context * self.dim]], axis=0)
    vectors = tf.reshape(vectors, shape)
    vectors.set_shape([*last.shape[:-1], self.context * self.dim])
    return self.dense(vectors)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "vocab_size": self.vocab_size,
      "dim": self.dim,
      "context": self.context,
    }


NETWORKS = {"lstm": LSTMPrediction, "stateless": StatelessPrediction}
