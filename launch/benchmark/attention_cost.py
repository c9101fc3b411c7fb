"""Times a training step with this package's attention and with the formula.

  python -m launch.benchmark attention --model_size=S --json=attention.json

The formula is Transformer-XL's as it is mostly written: the batch first, the
scores by position an einsum, their shift made of strided slices. Two Conformer
CTC models of equal weights, one with each, take turns on the same batch of
noise. Times are those of all threads of the process together, which other work
on the machine changes less than the clock's.
"""

import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from launch import cli
from launch.benchmark import options
from models import conformer, registry
from models.layers import attention
from models.speech_model import SpeechModel
from tf_pcc import bars, files

_VOCABULARY = 256
# Of an operation.
_THREADS = 2


def by_formula(
  layer: attention.RelativeSelfAttention,
  x: tf.Tensor,
  positions: tf.Tensor,
  mask: tf.Tensor,
) -> tf.Tensor:
  """What `RelativeSelfAttention.call` gives, by the formula above.

  Args:
    layer: `attention.RelativeSelfAttention`, whose weights are taken.
    x: float [B, T, dim].
    positions: float [2T - 1, dim].
    mask: bool [B, T].

  Returns:
    float [B, T, dim].
  """
  batch, length = tf.unstack(tf.shape(x)[:2])
  heads = tf.reshape(
    layer.query_key_value(x), [batch, length, 3, layer.heads, layer.width]
  )
  query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
  position = layer.position(positions)
  position = tf.reshape(position, [-1, layer.heads, layer.width])
  content_bias, position_bias = (
    tf.cast(bias, query.dtype)[:, None]
    for bias in (layer.content_bias, layer.position_bias)
  )
  scores = tf.matmul(query + content_bias, key, transpose_b=True)
  far = tf.einsum("bhtd,uhd->bhtu", query + position_bias, position)
  far = tf.pad(far, [[0, 0], [0, 0], [0, 0], [1, 0]])
  far = tf.reshape(far, [batch, layer.heads, 2 * length, length])
  far = tf.reshape(far[:, :, 1:], [batch, layer.heads, length, 2 * length - 1])
  scores += far[:, :, :, :length]
  scores *= layer.width**-0.5
  scores = tf.cast(scores, tf.float32)
  scores = tf.where(mask[:, None, None], scores, -1e9)
  weights = tf.cast(tf.nn.softmax(scores), value.dtype)
  mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
  return layer.output_projection(tf.reshape(mixed, [batch, length, layer.dim]))


def make_models(
  fields: Mapping[str, Any], seed: int = 0
) -> dict[str, SpeechModel]:
  """Two models of equal weights.

  Args:
    fields: dict, the config of `registry.build_model`.
    seed: int.

  Returns:
    dict from "formula" and "layer" to the built model whose attention it is.
  """
  keras.utils.set_random_seed(seed)
  models = {}
  for name in ("formula", "layer"):
    models[name] = registry.build_model("conformer_ctc", fields, _VOCABULARY)
    models[name].build_from_signature()
  models["layer"].set_weights(models["formula"].get_weights())
  for block in models["formula"].encoder.blocks:
    block.attention.call = functools.partial(by_formula, block.attention)
  return models


def make_step(
  model: SpeechModel, utterances: int, seconds: float, seed: int = 0
) -> Callable[[], float]:
  """A function that takes one training step, of noise.

  Args:
    model: one of `make_models`.
    utterances: int, B.
    seconds: float, of each.
    seed: int.

  Returns:
    function without arguments; the loss before the step, float.
  """
  rng = np.random.default_rng(seed)
  samples = int(seconds * model.log_mel.sample_rate)
  audio = rng.normal(0, 0.1, [utterances, samples]).astype(np.float32)
  # Four labels a second: no step is refused for want of frames.
  labels = rng.integers(1, _VOCABULARY, [utterances, int(4 * seconds)])
  labels = tf.constant(labels, tf.int32)
  length = tf.fill([utterances], samples)
  x = {"audio": tf.constant(audio), "audio_length": length}
  y = {"labels": labels, "label_length": tf.fill([utterances], labels.shape[1])}
  optimizer, weights = keras.optimizers.Adam(1e-4), model.trainable_variables
  optimizer.build(weights)

  @tf.function(autograph=False)
  def run(x, y):
    with tf.GradientTape() as tape:
      loss = model.compute_loss(x, y, model(x, training=True))
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    optimizer.apply(gradients, weights)
    return loss

  def step():
    loss = float(run(x, y))
    # The weights of the step are there when this can be read.
    keras.ops.convert_to_numpy(optimizer.iterations)
    return loss

  return step


def measure(
  fields: Mapping[str, Any],
  utterances: int,
  seconds: float,
  rounds: int,
  seed: int = 0,
) -> dict[str, dict[str, Any]]:
  """CPU time of a step with each attention, in turns.

  Args:
    fields: as for `make_models`.
    utterances: as for `make_step`.
    seconds: as for `make_step`.
    rounds: int, steps of each that are timed.
    seed: int.

  Returns:
    dict from a name of `make_models` to loss, of the first step, and
    median_cpu_seconds; in "layer" also ratio, to the formula in the same round,
    and quartiles.
  """
  steps = {
    name: make_step(model, utterances, seconds, seed)
    for name, model in make_models(fields, seed).items()
  }
  # The first step traces.
  figures: dict[str, dict[str, Any]] = {
    name: {"loss": step()} for name, step in steps.items()
  }
  spent = {name: [] for name in steps}
  for turn in bars.make(range(rounds), unit="round"):
    for name in list(steps)[:: 1 if turn % 2 else -1]:
      start = time.process_time()
      steps[name]()
      spent[name].append(time.process_time() - start)
  for name, values in spent.items():
    figures[name]["median_cpu_seconds"] = statistics.median(values)
  ratios = np.array(spent["layer"]) / np.array(spent["formula"])
  low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
  figures["layer"] |= {"ratio": middle, "quartiles": [low, high]}
  return figures


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, sizes = options.json_path(), options.sizes()
  tf.config.threading.set_intra_op_parallelism_threads(_THREADS)
  fields = {"size": options.model_size()}
  figures = measure(
    fields, sizes["batch"], options.duration(), options.rounds()
  )
  print(f"{'attention':9} {'CPU s/step':>10} {'loss':>13}")
  for name, row in figures.items():
    print(f"{name:9} {row['median_cpu_seconds']:10.3f} {row['loss']:13.6f}")
  low, high = figures["layer"]["quartiles"]
  print(
    f"layer / formula: {figures['layer']['ratio']:.3f}, quartiles "
    f"{low:.3f} to {high:.3f}"
  )
  if path:
    files.write_json(path, {**fields, "attention": figures})


if __name__ == "__main__":
  options.define_rounds(20)
  options.define_sound(list(conformer.SIZES), "tiny", 8.0)
  options.define_sizes(batch=8)
  cli.run("launch.benchmark attention", main, verbosity=logging.WARNING)
