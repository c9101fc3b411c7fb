"""Labels and lengths of a batch, as the losses of lattices need them."""

from collections.abc import Callable

import tensorflow as tf

from models import signatures


class Targets:
  """Labels and lengths of a batch, checked and made safe to index with.

  Args:
    labels: int [B, U].
    label_length: int [B].
    length: int [B], frames.
    batch: B, a number where it is known while the graph is traced; so are the
      next three.
    frames: T.
    columns: U + 1.
    vocab: V.
    blank_index: class of the blank.

  Raises:
    ValueError: If shapes do not fit, or, eagerly, labels or lengths are out of
      range.
  """

  def __init__(
    self,
    labels: tf.types.experimental.TensorLike,
    label_length: tf.types.experimental.TensorLike,
    length: tf.types.experimental.TensorLike,
    batch: signatures.Size,
    frames: signatures.Size,
    columns: signatures.Size,
    vocab: signatures.Size,
    blank_index: int,
  ):
    if not tf.is_tensor(vocab) and not 0 <= blank_index < vocab:
      raise ValueError(
        f"blank_index must be a class, 0 to {vocab - 1}. "
        f"Received: blank_index={blank_index}"
      )
    labels = _integers("labels", labels, 2)
    label_length = _integers("label_length", label_length, 1)
    length = _integers("length", length, 1)
    for name, value in (
      ("labels", labels),
      ("label_length", label_length),
      ("length", length),
    ):
      if not tf.is_tensor(batch) and value.shape[0] not in (None, batch):
        raise ValueError(
          f"{name} must have one row for each of {batch} utterances. "
          f"Received: {name}.shape={value.shape}"
        )
    if not tf.is_tensor(columns) and labels.shape[1] not in (None, columns - 1):
      raise ValueError(
        f"labels must have U columns where logits or prediction have U + 1, "
        f"here {columns - 1}. Received: labels.shape={labels.shape}"
      )
    inside = tf.sequence_mask(label_length, columns - 1)
    wrong = {
      "length": tf.logical_or(length < 0, length > frames),
      "label_length": tf.logical_or(
        label_length < 0, label_length > columns - 1
      ),
      "labels": tf.reduce_any(
        inside
        & ((labels < 0) | (labels >= vocab) | tf.equal(labels, blank_index)),
        axis=1,
      ),
    }
    if tf.executing_eagerly():
      values = {"length": length, "label_length": label_length}
      right = {
        "length": f"be 0 to {frames}, the number of frames",
        "label_length": f"be 0 to {columns - 1}, the number of labels",
        "labels": f"hold classes, 0 to {vocab - 1}, but not {blank_index}",
      }
      for name, rows in wrong.items():
        rows = rows.numpy()
        if rows.any():
          value = values.get(name, labels).numpy()[rows][0]
          raise ValueError(
            f"{name} must {right[name]}, in every utterance. "
            f"Received: {name}={value.tolist()} in utterance {rows.argmax()}"
          )
    self.wrong = tf.reduce_any(tf.stack(list(wrong.values())), axis=0)
    self.length = tf.clip_by_value(length, 0, frames)
    self.label_length = tf.clip_by_value(label_length, 0, columns - 1)
    # After the last label the next one is never asked for.
    tokens = tf.pad(labels, [[0, 0], [0, 1]])
    self.tokens = tf.ensure_shape(
      tokens, [None, None if tf.is_tensor(columns) else columns]
    )

  def masked(
    self, encoder: tf.Tensor, prediction: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """0 in place of what is outside of the lengths.

    Padding may be NaN, which a product with 0 would carry into the weights.

    Args:
      encoder: float [B, T, D].
      prediction: float [B, U + 1, P].

    Returns:
      Two tensors like them.
    """
    frames, columns = sizes(encoder)[1], sizes(prediction)[1]
    inside = tf.sequence_mask(self.length, frames)[..., None]
    encoder = tf.where(inside, encoder, 0.0)
    inside = tf.sequence_mask(self.label_length + 1, columns)[..., None]
    return encoder, tf.where(inside, prediction, 0.0)


def _integers(name, value, rank):
  value = tf.convert_to_tensor(value)
  if not value.dtype.is_integer or value.shape.rank != rank:
    raise ValueError(
      f"{name} must be integers, {['[B]', '[B, U]'][rank - 1]}. "
      f"Received: {name}={value.dtype.name} {value.shape}"
    )
  # What does not fit in 32 bits stays out of range.
  return tf.saturate_cast(value, tf.int32)


def custom_gradient(
  function: Callable[..., tuple[tf.Tensor, Callable]],
) -> Callable[..., tf.Tensor]:
  """`tf.custom_gradient` with the type of what it makes.

  Args:
    function: of tensors, to a tensor and the function of its gradient.

  Returns:
    The function of the same tensors to the first of the two.
  """
  # TensorFlow's stubs say that the decorated function is as it was.
  return tf.custom_gradient(function)  # pyright: ignore[reportReturnType]


@custom_gradient
def once(value: tf.Tensor, *inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
  """The value; its derivative by the inputs is an error instead of nothing.

  Args:
    value: the derivative that was computed.
    *inputs: what it depends on.

  Returns:
    The value, and the function of its gradient, which raises
    NotImplementedError.
  """
  del inputs

  def gradient(_):
    raise NotImplementedError(
      "the gradient of this loss cannot be differentiated again"
    )

  return tf.identity(value), gradient


def shaped(
  name: str, value: tf.types.experimental.TensorLike, axes: str
) -> tf.Tensor:
  """The value as a tensor of as many axes as are named.

  Args:
    name: the argument's, for the message.
    value: what `tf.convert_to_tensor` takes.
    axes: such as "[B, T, V]".

  Returns:
    The tensor.

  Raises:
    ValueError: If it has another number of axes.
  """
  value = tf.convert_to_tensor(value)
  if value.shape.rank != len(axes.split(",")):
    raise ValueError(
      f"{name} must have the shape {axes}. Received: {name}.shape={value.shape}"
    )
  return value


def sizes(x: tf.Tensor) -> list[signatures.Size]:
  """The sizes of a tensor's axes, as numbers where they are known.

  Args:
    x: tensor.

  Returns:
    List of an int or int32 scalar for each axis.
  """
  dynamic = tf.shape(x)
  return [
    dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)
  ]
