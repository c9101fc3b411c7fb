"""NumPy forms of the method, and networks to try it on.

Everything after the per-core gradients is NumPy: norms, bounds, clipping, the
mean over cores, the optimizers.
"""

import keras
import numpy as np
import tensorflow as tf


def norm(gradients):
  """L2 norm over a list of arrays, in float64."""
  return np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients))


class Bound:
  """The bounds of tf_pcc, from a list of norms, some of them not live."""

  def __init__(self, kind, **options):
    self.kind, self.options = kind, options
    self.units = None

  def __call__(self, norms):
    norms = np.asarray(norms, np.float64)
    live = np.isfinite(norms) & (norms > 0)
    if self.kind == "fixed":
      return self.options["norm"]
    if self.kind == "min":
      return norms[live].min()
    if self.kind == "quantile":
      return np.quantile(norms[live], self.options["quantile"])
    if self.units is None:
      self.units = [RunningNorm(**self.options) for _ in norms]
    for unit in np.flatnonzero(live):
      self.units[unit].observe(norms[unit])
    units = [unit for unit, alive in zip(self.units, live) if alive]
    if self.options["decay"] > 0:
      limit = np.log(self.options.get("outlier_factor", 10.0))
      median = np.median([unit.log for unit in units])
      units = [u for u in units if abs(u.log - median) <= limit] or units
      units = [u for u in units if u.streak == 0] or units
    logs = [unit.log for unit in units]
    statistic = self.options["statistic"]
    if statistic == "quantile":
      return np.exp(np.quantile(logs, self.options["quantile"]))
    return np.exp(
      {"min": np.min, "mean": np.mean, "median": np.median}[statistic](logs)
    )


class RunningNorm:
  """What one unit remembers of its norms: a weighted mean of logarithms."""

  def __init__(self, decay, outlier_factor=10.0, **_):
    self.decay, self.factor = decay, outlier_factor
    self.logs, self.streak = [], 0

  @property
  def log(self):
    """The mean of what was counted; the newest weighs most."""
    ages = np.arange(len(self.logs))[::-1]
    return np.average(self.logs, weights=self.decay ** ages.astype(float))

  def observe(self, norm):
    log = np.log(norm)
    if self.logs and self.decay > 0:
      now, limit = self.log, np.log(self.factor)
      off = np.sign(log - now) * (abs(log - now) > limit)
      same = self.streak * off > 0
      self.streak = self.streak + off if same else off
      if abs(self.streak) == 3:
        self.logs, self.streak = [], 0
      elif off:
        log = now + limit * off
    self.logs.append(log)


def clipped_mean(
  units,
  bound,
  dead="fixed",
  batch_clip_norm=None,
  normalize=False,
  weights=None,
):
  """Mean of the clipped units' gradients; None if no unit is live.

  Args:
    units: list of lists of arrays, the gradients of each unit.
    bound: `Bound`.
    dead: "fixed" or "live".
    batch_clip_norm: None or a number.
    normalize: whether the mean is divided by the bound, before batch clipping.
    weights: None, or what each unit counts.
  """
  norms = [norm(g) for g in units]
  live = [np.isfinite(n) and n > 0 for n in norms]
  if not any(live):
    return None
  rho = bound(norms)
  weights = np.ones(len(units)) if weights is None else np.asarray(weights)
  count = np.sum(weights[live] if dead == "live" else weights)
  total = [np.zeros(g.shape, np.float64) for g in units[0]]
  for gradients, n, alive, weight in zip(units, norms, live, weights):
    if alive:
      factor = min(1 / rho, 1 / n) if normalize else min(1.0, rho / n)
      for i, g in enumerate(gradients):
        total[i] += g.astype(np.float64) * factor * weight / count
  if batch_clip_norm is not None:
    n = norm(total)
    total = [g * min(1.0, batch_clip_norm / n) for g in total]
  return total


class Momentum:
  """keras.optimizers.SGD(rate, momentum=0.9)."""

  def __init__(self, rate):
    self.rate, self.m = rate, None

  def __call__(self, weights, gradients):
    if self.m is None:
      self.m = [np.zeros_like(w) for w in weights]
    self.m = [0.9 * m - self.rate * g for m, g in zip(self.m, gradients)]
    return [w + m for w, m in zip(weights, self.m)]


class Adam:
  """keras.optimizers.Adam(rate)."""

  def __init__(self, rate):
    self.rate, self.step = rate, 0

  def __call__(self, weights, gradients):
    if self.step == 0:
      self.m = [np.zeros_like(w) for w in weights]
      self.v = [np.zeros_like(w) for w in weights]
    self.step += 1
    self.m = [0.9 * m + 0.1 * g for m, g in zip(self.m, gradients)]
    self.v = [0.999 * v + 0.001 * g * g for v, g in zip(self.v, gradients)]
    rate = self.rate * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
    return [
      w - rate * m / (np.sqrt(v) + 1e-7)
      for w, m, v in zip(weights, self.m, self.v)
    ]


OPTIMIZERS = {
  "momentum": (
    lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    Momentum(0.05),
  ),
  "adam": (lambda: keras.optimizers.Adam(0.01), Adam(0.01)),
}


class Tied(keras.layers.Layer):
  """Logits with the embedding's own matrix."""

  def __init__(self, embedding):
    super().__init__()
    self.embedding = embedding

  def call(self, x):
    table = keras.ops.cast(self.embedding.embeddings, x.dtype)
    return keras.ops.matmul(x, keras.ops.transpose(table))


def network(kind, rng):
  """Inputs and outputs of a small random network of one kind.

  Args:
    kind: "dense", "convolution", "lstm", "embedding" or "tied".
    rng: NumPy generator, draws the sizes.

  Returns:
    (inputs, outputs, batch function), the last giving (x, y) of n examples.
  """
  width = int(rng.integers(3, 7))
  length = int(rng.integers(5, 9))
  words = 7
  classes = 3
  integer = kind in ("embedding", "tied")
  if kind == "dense":
    inputs = keras.Input((width,))
    h = keras.layers.Dense(width + 2, activation="tanh")(inputs)
  elif integer:
    inputs = keras.Input((length,), dtype="int32")
    table = keras.layers.Embedding(words, width)
    h = keras.layers.Dense(width, activation="tanh")(table(inputs))
  else:
    inputs = keras.Input((length, width))
    if kind == "convolution":
      h = keras.layers.Conv1D(width, 3, activation="relu")(inputs)
      h = keras.layers.GlobalAveragePooling1D()(h)
    else:
      h = keras.layers.LSTM(width)(inputs)
  if kind == "tied":
    outputs = Tied(table)(h)
  else:
    if kind == "embedding":
      h = keras.layers.GlobalAveragePooling1D()(h)
    outputs = keras.layers.Dense(classes)(h)
  outputs = keras.layers.Activation("linear", dtype="float32")(outputs)

  def batch(n):
    if integer:
      # Few words, so that every batch looks some of them up twice.
      x = rng.integers(0, words, (n, length)).astype(np.int32)
    else:
      x = rng.normal(size=(n, *inputs.shape[1:])).astype(np.float32)
      x *= rng.lognormal(0, 1, (n,) + (1,) * (x.ndim - 1)).astype(np.float32)
    y = rng.normal(size=(n, *outputs.shape[1:])).astype(np.float32) * 3
    return x, y

  return inputs, outputs, batch


def gradient_function(model):
  """Gradients of the mean squared error of a plain model, as NumPy arrays."""

  @tf.function(reduce_retracing=True)
  def gradients(x, y):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.square(y - model(x, training=True)))
    found = tape.gradient(loss, model.trainable_variables)
    return [tf.convert_to_tensor(g) for g in found]

  return lambda x, y: [
    g.numpy() for g in gradients(tf.constant(x), tf.constant(y))
  ]
