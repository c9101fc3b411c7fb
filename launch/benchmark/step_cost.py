"""Times training steps of the clipping methods against each other.

  python -m launch.benchmark step --json=clipping.json
  python -m launch.benchmark step --config=launch/configs/desk_transducer.py \\
    --rows=pcc,apcc

All methods live in one process and take turns, step by step, on the same batch,
so that a busy machine slows them alike. A figure is the median over rounds of a
method's time over that of no clipping in the same round, with the quartiles.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags, logging
from ml_collections import config_dict

from launch import cli
from launch.benchmark import options
from launch.runs import cluster, datasets, experiment
from tf_pcc import bars, files
from tf_pcc.data import batching

_CONFIG = cli.config_flag()
_ROWS = flags.DEFINE_list(
  "rows", None, "Methods to time besides none; default: all there are."
)
# Name of a row: the fields of config.clipping it changes.
METHODS = {
  "none": {"method": "none"},
  "batch": {"method": "batch"},
  "pcc": {"method": "pcc"},
  "apcc": {"method": "apcc"},
  "running": {"method": "running"},
  "microbatches": {"method": "pcc", "microbatches": 2},
  "per_example": {"method": "per_example"},
}


def chosen(names: Sequence[str] | None) -> dict[str, dict[str, Any]]:
  """The methods of these names, none before all others.

  Args:
    names: list of str, or None for all.

  Returns:
    dict like `METHODS`.

  Raises:
    ValueError: If there is no such method.
  """
  names = list(METHODS if names is None else names)
  options.require_rows(names, METHODS)
  wanted = ["none", *names]
  return {name: METHODS[name] for name in dict.fromkeys(wanted)}


def make_steps(
  config: config_dict.ConfigDict,
  strategy: tf.distribute.Strategy,
  methods: Mapping[str, dict[str, Any]],
) -> dict[str, Callable[[], Any]]:
  """A function for each method that takes one training step of its own model.

  Args:
    config: the experiment's `ConfigDict`.
    strategy: tf.distribute strategy.
    methods: dict like `METHODS`.

  Returns:
    dict from the method's name to a function without arguments.
  """
  cores = strategy.num_replicas_in_sync
  per_core = config.batch // cores
  splits = datasets.open_splits(config)
  tokenizer = datasets.make_tokenizer(config, splits["train"])
  steps = {}
  base = config
  for name, changes in methods.items():
    config = base.copy_and_resolve_references()
    config.clipping.update(changes)
    with strategy.scope():
      model = experiment.compile_model(config, tokenizer.vocab_size, per_core)
    if not steps:
      batches = batching.Batches(
        splits["train"],
        tokenizer,
        config.batch,
        config.data.buckets_seconds or None,
        seed=config.seed,
        fits_lengths=model.fits_lengths,
        cores=cores,
      )
      dataset = batches.dataset(stop_step=1).rebatch(per_core)
      data = next(
        iter(
          strategy.distribute_datasets_from_function(
            lambda _, dataset=dataset: dataset
          )
        )
      )
    steps[name] = _step(model, strategy, data)
  return steps


def _step(model, strategy, data):
  train_step = tf.autograph.experimental.do_not_convert(model.train_step)

  @tf.function(autograph=False)
  def run(data):
    strategy.run(train_step, args=(data,))

  def step():
    run(data)
    # The weights of the last step are there when this can be read.
    model.optimizer.iterations.numpy()

  return step


def interleave(
  steps: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, np.ndarray]:
  """Seconds of every step, the methods taking turns.

  Args:
    steps: dict from name to function.
    rounds: int.

  Returns:
    dict from name to float64 [rounds].
  """
  for name, step in steps.items():
    logging.info("tracing %s", name)
    step()
    step()
  seconds = {name: [] for name in steps}
  names = list(steps)
  for turn in bars.make(range(rounds), unit="round"):
    # Another first in every round: none always has the same neighbour.
    for name in names[turn % len(names) :] + names[: turn % len(names)]:
      start = time.perf_counter()
      steps[name]()
      seconds[name].append(time.perf_counter() - start)
  return {name: np.array(values) for name, values in seconds.items()}


def compare(seconds: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
  """Ratios to no clipping.

  Args:
    seconds: what `interleave` returned, with the name "none".

  Returns:
    dict from name to median_seconds, ratio, and the ratio's quartiles.
  """
  result = {}
  for name, values in seconds.items():
    low, middle, high = np.quantile(values / seconds["none"], [0.25, 0.5, 0.75])
    result[name] = {
      "median_seconds": statistics.median(values),
      "ratio": middle,
      "ratio_quartiles": [low, high],
    }
  return result


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  methods = chosen(_ROWS.value)
  experiment.check_fields(_CONFIG.value)
  path, rounds = options.json_path(), options.rounds()
  strategy = cluster.make_strategy(_CONFIG.value.cores)
  steps = make_steps(_CONFIG.value, strategy, methods)
  figures = compare(interleave(steps, rounds))
  if path:
    files.write_json(
      path,
      {
        "rounds": rounds,
        "cores": strategy.num_replicas_in_sync,
        "batch": _CONFIG.value.batch,
        "methods": figures,
      },
    )
  print(f"{'method':14} {'s/step':>8} {'ratio':>7}   quartiles")
  for name, row in figures.items():
    low, high = row["ratio_quartiles"]
    print(
      f"{name:14} {row['median_seconds']:8.4f} {row['ratio']:7.3f}   "
      f"{low:.3f} .. {high:.3f}"
    )


if __name__ == "__main__":
  options.define_rounds(40)
  cli.run("launch.benchmark step", main)
