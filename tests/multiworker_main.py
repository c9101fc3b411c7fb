"""What one worker of tests/multiworker_test.py does, all cases in turn.

Usage: python -m tests.multiworker_main FOLDER

Writes FOLDER/<task>.npy, the weights and the logs the test compares with NumPy.
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import tf_pcc
from tests import apis, reference

WORKERS = 2
PER_CORE = 4
STEPS = 3
RATE = 0.05
SEED = 5
NAN = np.nan
# Steps of two cores: both live, one zero, one NaN, none live, both live.
EDGES = [
  [[3, 4], [0.6, 0.8]],
  [[6, 8], [0, 0]],
  [[NAN, 1], [5, 12]],
  [[0, 0], [NAN, NAN]],
  [[0.3, 0.4], [3, 4]],
]


def network():
  """A small network and `STEPS` global batches, the same on every worker."""
  keras.utils.set_random_seed(SEED)
  inputs, outputs, draw = reference.network(
    "dense", np.random.default_rng(SEED)
  )
  return inputs, outputs, draw(STEPS * WORKERS * PER_CORE)


def dataset(x, y, batch=WORKERS * PER_CORE):
  """The global batches in order; Keras and the strategy share them out."""
  data = tf.data.Dataset.from_tensor_slices((x, y))
  options = tf.data.Options()
  options.experimental_distribute.auto_shard_policy = (
    tf.data.experimental.AutoShardPolicy.DATA
  )
  return data.batch(batch, drop_remainder=True).with_options(options)


def per_core_model(strategy, bound, **options):
  """A compiled `PerCoreModel` of `network` and its batches."""
  with strategy.scope():
    inputs, outputs, (x, y) = network()
    model = tf_pcc.PerCoreModel(inputs, outputs)
    model.compile(
      keras.optimizers.SGD(RATE, momentum=0.9),
      loss="mse",
      clipping=tf_pcc.Clipping(bound, **options.pop("clipping", {})),
      **options,
    )
    model.optimizer.build(model.trainable_variables)
  return model, x, y


def loop(strategy, step, data):
  """A training loop of one's own."""
  run = tf.function(lambda batch: strategy.run(step, args=(batch,)))
  for batch in strategy.experimental_distribute_dataset(data):
    run(batch)


def fit_case(strategy, bound):
  """Stock arguments, two epochs, a metric and validation."""
  model, x, y = per_core_model(strategy, bound, metrics=["mae"])
  start = model.get_weights()
  history = model.fit(
    dataset(x, y),
    epochs=2,
    verbose=0,
    validation_data=dataset(x, y),
    callbacks=[tf_pcc.ClippingMonitor()],
  )
  after = model.evaluate(dataset(x, y), verbose=0, return_dict=True)
  return {
    "start": start,
    "weights": model.get_weights(),
    "history": history.history,
    "evaluated": after,
    "iterations": int(model.optimizer.iterations.numpy()),
  }


def subclassed_case(strategy):
  """A subclass with a loss of its own, not built before fit."""

  class Regressor(tf_pcc.PerCoreModel):
    def __init__(self):
      super().__init__()
      self.dense = keras.layers.Dense(y.shape[1], kernel_initializer="zeros")

    def call(self, x):
      return self.dense(x)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
      return tf.reduce_mean(tf.square(y - y_pred))

  _, _, (x, y) = network()
  with strategy.scope():
    model = Regressor()
    model.compile(
      keras.optimizers.SGD(RATE),
      clipping=tf_pcc.Clipping(0.7, microbatches=2),
    )
  history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
  return {"weights": model.get_weights(), "history": history.history}


def loop_case(strategy, bound, **options):
  """`strategy.run(model.train_step)` without fit."""
  model, x, y = per_core_model(strategy, bound, **options)
  start = model.get_weights()
  loop(strategy, model.train_step, dataset(x, y))
  clipper = model.optimizer._clipper
  return {
    "start": start,
    "weights": model.get_weights(),
    "state": clipper.save(),
    # One core a worker.
    "own": {n: v.numpy() for n, v in local_values(strategy, clipper)},
  }


def local_values(strategy, clipper):
  """Pairs of name and this worker's value of the replica-local variables."""
  for name, variable in clipper.local_variables.items():
    (own,) = strategy.experimental_local_results(variable)
    yield name, own


def optimizer_case(strategy, bound):
  """The optimizer's API in a hand-written loop."""
  with strategy.scope():
    inputs, outputs, (x, y) = network()
    model = keras.Model(inputs, outputs)
    optimizer = tf_pcc.PerCoreClipping(
      keras.optimizers.SGD(RATE, momentum=0.9), bound
    )
    optimizer.build(model.trainable_variables)
  start = model.get_weights()

  def step(batch):
    x, y = batch
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.square(y - model(x, training=True)))
      loss /= strategy.num_replicas_in_sync
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)

  loop(strategy, step, dataset(x, y))
  return {"start": start, "weights": model.get_weights()}


def edge_case(strategy, api, bound, dead_cores):
  """Dead cores on either worker, and a step nobody takes."""
  model = apis.compiled(
    api, strategy, 2, bound, clipping={"dead_cores": dead_cores}
  )
  with strategy.scope():
    model.optimizer.build(model.trainable_variables)
  trajectory = []
  statistics = []

  def step(batch):
    if api == "model":
      model.train_step(batch)
      return
    x, y = batch
    with tf.GradientTape() as tape:
      # Keras' own loss carries 1/R already.
      loss = model.compute_loss(x, y, model(x, training=True))
    model.optimizer.apply(tape.gradient(loss, model.trainable_variables))

  run = tf.function(lambda batch: strategy.run(step, args=(batch,)))
  for batch in strategy.experimental_distribute_dataset(apis.batches(EDGES)):
    run(batch)
    trajectory.append(model.get_weights()[0][:, 0])
    statistics.append(model.optimizer.statistics())
  return {
    "trajectory": trajectory,
    "live": [s["live_cores"] for s in statistics],
    "skipped": [s["skipped_steps"] for s in statistics],
    "iterations": int(model.optimizer.iterations.numpy()),
  }


def checkpoint_case(strategy, folder, task):
  """Saved by both, restored by both, continued as if never interrupted."""

  def fresh(seed):
    bound = tf_pcc.RunningBound(0.8, "mean")
    model, x, y = per_core_model(strategy, bound)
    model.set_weights([w + seed for w in model.get_weights()])
    return model, dataset(x, y)

  model, data = fresh(0.0)
  loop(strategy, model.train_step, data)
  # Every worker must save, each into a folder of its own.
  path = tf.train.Checkpoint(model=model).save(
    os.path.join(folder, f"checkpoint{task}", "step")
  )
  state = [v.numpy() for v in model.optimizer.variables]
  loop(strategy, model.train_step, data)
  other, data = fresh(1.0)
  tf.train.Checkpoint(model=other).restore(path).assert_consumed()
  restored = [v.numpy() for v in other.optimizer.variables]
  loop(strategy, other.train_step, data)
  return {
    "weights": model.get_weights(),
    "continued": other.get_weights(),
    "state": state,
    "restored": restored,
  }


def main():
  folder = sys.argv[1]
  task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
  strategy = tf.distribute.MultiWorkerMirroredStrategy()
  assert strategy.num_replicas_in_sync == WORKERS
  results = {}
  for name, bound in (
    ("fixed", tf_pcc.FixedBound(0.7)),
    ("min", tf_pcc.MinBound()),
  ):
    results[f"fit {name}"] = fit_case(strategy, bound)
    divided = {"clipping": {"normalize": True}}
    results[f"divided {name}"] = loop_case(strategy, bound, **divided)
    results[f"loop {name}"] = loop_case(strategy, bound)
    results[f"optimizer {name}"] = optimizer_case(strategy, bound)
    for api in apis.APIS:
      for dead_cores in ("fixed", "live"):
        results[f"edges {name} {api} {dead_cores}"] = edge_case(
          strategy, api, bound, dead_cores
        )
  results["running"] = loop_case(strategy, tf_pcc.RunningBound(0.7))
  results["subclassed"] = subclassed_case(strategy)
  results["checkpoint"] = checkpoint_case(strategy, folder, task)
  np.save(os.path.join(folder, f"{task}.npy"), results, allow_pickle=True)


if __name__ == "__main__":
  main()
