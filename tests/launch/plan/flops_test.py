"""Operations counted from a graph are those of the formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from launch.plan import flops
from models import registry
from tests.launch.plan import recognisers


def step(model, batch, samples, labels=3):
  """Operations by layer, nothing being left uncounted."""
  x = {
    "audio": tf.TensorSpec([batch, samples]),
    "audio_length": tf.TensorSpec([batch], tf.int32),
  }
  y = {
    "labels": tf.TensorSpec([batch, labels], tf.int32),
    "label_length": tf.TensorSpec([batch], tf.int32),
  }
  found, unknown = flops.of_step(model, (x, y))
  assert unknown == []
  return found


def test_the_conformer():
  """Three times the forward pass, which a few products describe."""
  dim, heads, factor, kernel, mels, vocabulary = 16, 2, 2, 3, 16, 8
  model = registry.build_model(
    "conformer_ctc", recognisers.CONFORMER, vocabulary
  )
  batch, samples = 2, 3200
  found = step(model, batch, samples)
  time = model.frames(samples)
  early = model.log_mel.frames(samples)
  rows = batch * time
  block = "conformer_encoder/conformer_block"
  assert found[f"{block}/feed_forward"] == (
    3 * 2 * 2 * (2 * rows * dim * dim * factor)
  )
  pairs = batch * time * time * dim
  distances = 2 * time - 1
  attention = (
    # Queries, keys, values and the output; positions have no gradient.
    3 * 2 * rows * dim * 4 * dim
    + 2 * 2 * distances * dim * dim
    # Scores of contents and positions, and the weighted values.
    + 3 * 2 * 2 * pairs
    # The column that the shift drops is one more distance.
    + 3 * 2 * batch * time * (distances + 1) * dim
  )
  assert found[f"{block}/relative_self_attention"] == attention
  assert found[f"{block}/convolution_module"] == (
    3 * 2 * rows * dim * (2 * dim + dim + kernel)
  )
  assert found["dense"] == 3 * 2 * rows * dim * vocabulary
  # The spectrum and its mel bands; nothing before the encoder has a gradient.
  size = model.log_mel.fft_length
  rows = batch * early
  assert found["log_mel/stft"] == rows * 2.5 * size * np.log2(size)
  assert found["log_mel"] == rows * 2 * (size // 2 + 1) * mels
  assert heads == model.encoder.config.heads


@pytest.mark.parametrize("rnn", [keras.layers.LSTM, keras.layers.GRU])
def test_a_recurrent_layer_counts_its_steps(rnn):
  layer = rnn(4, return_sequences=True)
  layer.build((2, 5, 3))

  @tf.function(autograph=False)
  def gradient(x):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(x))
    return tape.gradient(loss, layer.trainable_variables)

  spec = tf.TensorSpec([2, 5, 3])
  found, unknown = flops.of_graph(gradient.get_concrete_function(spec).graph)
  assert unknown == []
  gates = 4 if rnn is keras.layers.LSTM else 3
  forward = 2 * 2 * (3 + 4) * 4 * gates * 5
  # Each step once forward; backward the weights' gradient and the state's.
  assert 2 * forward < sum(found.values()) <= 3.5 * forward


def test_products_and_convolutions():
  @tf.function(autograph=False)
  def products(a, image, kernel, depthwise):
    tf.matmul(a, a, transpose_b=True)
    tf.matmul(a, a, transpose_a=True)
    tf.einsum("bij,bkj->bik", a[None], a[None])
    tf.nn.conv2d(image, kernel, strides=2, padding="VALID")
    tf.nn.depthwise_conv2d(image, depthwise, [1, 1, 1, 1], padding="SAME")
    return tf.transpose(a)

  graph = products.get_concrete_function(
    tf.TensorSpec([3, 5]),
    tf.TensorSpec([2, 9, 7, 4]),
    tf.TensorSpec([3, 3, 4, 6]),
    tf.TensorSpec([3, 3, 4, 2]),
  ).graph
  found, unknown = flops.of_graph(graph)
  assert unknown == []
  assert sum(found.values()) == 2 * (
    3 * 3 * 5
    + 5 * 5 * 3
    + 3 * 3 * 5
    + 2 * 4 * 3 * 6 * 3 * 3 * 4
    + 2 * 9 * 7 * 8 * 9
  )


def test_the_transducer():
  """Its logits are made twice, and their two gradients once."""
  joint_dim, prediction_dim, vocabulary = 24, 12, 8
  fields = {
    **recognisers.CONFORMER,
    "prediction_dim": prediction_dim,
    "joint_dim": joint_dim,
  }
  model = registry.build_model("conformer_transducer", fields, vocabulary)
  batch, samples, labels = 2, 3200, 3
  found = step(model, batch, samples, labels)
  time, columns = model.frames(samples), labels + 1
  nodes = batch * time * columns
  assert found["loss"] == (
    4 * 2 * nodes * joint_dim * vocabulary
    # The gradient of the output's bias, a product with ones.
    + 2 * nodes * vocabulary
    + 3 * 2 * batch * time * model.encoder.dim * joint_dim
    + 3 * 2 * batch * columns * prediction_dim * joint_dim
  )
  lstm = sum(v for k, v in found.items() if "lstm" in k)
  forward = 2 * batch * columns * 2 * prediction_dim * 4 * prediction_dim
  assert 2.5 * forward < lstm <= 3.5 * forward


def test_the_dearer_branch_and_unknown_ops():
  @tf.function(autograph=False)
  def branches(a):
    a = tf.cond(
      a[0, 0] > 0,
      lambda: tf.matmul(a, tf.matmul(a, a)),
      lambda: tf.matmul(a, a),
    )
    return tf.linalg.inv(a) + tf.map_fn(lambda row: row, a)

  graph = branches.get_concrete_function(tf.TensorSpec([3, 3])).graph
  found, unknown = flops.of_graph(graph)
  assert sum(found.values()) == 2 * 2 * 3**3
  assert unknown == ["MatrixInverse"]


def test_an_endless_loop_of_products():
  @tf.function(autograph=False)
  def endless(a):
    return tf.while_loop(
      lambda a: tf.reduce_sum(a) < 1, lambda a: (tf.matmul(a, a),), (a,)
    )

  graph = endless.get_concrete_function(tf.TensorSpec([3, 3])).graph
  with pytest.raises(ValueError, match="maximum_iterations.*Received: while"):
    flops.of_graph(graph)
