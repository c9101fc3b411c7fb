"""Trains a recogniser, with per-core clipping.

  python -m launch.train --workdir=runs/desk
  python -m launch.train --config=launch/configs/desk.py --workdir=runs/pcc \\
    --config.clipping.method=pcc --config.clipping.bound=2.5 --config.seed=1

Resuming needs --workdir alone: where it holds a checkpoint, training continues
from it. Ctrl-C and SIGTERM save one first. launch/runs/opening.py lists what is
written, launch/runs/cluster.py how --cores, --tpu and TF_CONFIG choose cores.
"""

import math
import os
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import flags, logging
from ml_collections import config_dict

import tf_pcc
from launch import cli
from launch.canaries import of_run
from launch.recognition import driver as driver_
from launch.recognition import error_rates, pretraining
from launch.runs import (
  checkpoints,
  cluster,
  datasets,
  evaluating,
  experiment,
  health,
  interruption,
  log_copy,
  metrics,
  opening,
  origin,
  overlap,
  ownership,
  rendezvous,
  resuming,
  saved_config,
  stepping,
)
from tf_pcc import bars, files, replicas
from tf_pcc.data import audio, batching, host_reading

_CONFIG = cli.config_flag()
_WORKDIR = cli.workdir_flag()
_VERIFY = cli.verify_flag()
_OUTPUT_LOG = flags.DEFINE_string(
  "output_log",
  None,
  "The file that this program's output goes to: --workdir/logs gets a copy, "
  "which outlives the machine.",
)
# Batches that tell the features' global statistics, where a model wants them.
_ADAPT_STEPS = 50


def train(
  config: config_dict.ConfigDict,
  directory: str | os.PathLike,
  strategy: tf.distribute.Strategy,
  verify: bool = False,
) -> dict[str, Any]:
  """Trains as a config says, from the newest checkpoint of the directory.

  Args:
    config: the experiment's `ConfigDict`.
    directory: the run's directory.
    strategy: tf.distribute strategy.
    verify: bool, whether the chief reads and compares all records first.

  Returns:
    The summary, a dict, as in DIR/summary.json.

  Raises:
    ValueError: If a field of the config is out of range or does not suit the
      corpus, the directory holds another run, or another process trains there.
    FloatingPointError: If the run has exploded; see `launch.runs.health`.
    KeyboardInterrupt: If interrupted, after a checkpoint was saved.
  """
  # ---- Check before anything takes time -------------------------------------
  error_rates.require_jiwer()
  checkpoints.require_plain_name(directory)
  experiment.check_fields(config)
  cores = strategy.num_replicas_in_sync
  if config.batch % cores:
    raise ValueError(
      f"batch must be divisible by the number of cores, {cores}. "
      f"Received: batch={config.batch}"
    )
  per_core = config.batch // cores
  clipping = experiment.make_clipping(config, per_core)
  experiment.make_optimizer(config)
  datasets.make_augmentation(config)
  with ownership.hold(directory, cluster.is_chief(strategy)) as require_mine:
    return _train(config, directory, strategy, clipping, require_mine, verify)


def _train(config, directory, strategy, clipping, require_mine, verify):
  """`train`, checked and alone; `require_mine` is that of `ownership.hold`."""
  saved_config.check_config(directory, config)
  cores = strategy.num_replicas_in_sync
  per_core = config.batch // cores
  chief = cluster.is_chief(strategy)
  saved = resuming.saved_step(directory, strategy)

  # ---- Speech ----------------------------------------------------------------
  splits = datasets.open_splits(config, progress=chief)
  if verify and chief:
    for split in splits.values():
      split.verify()
  shared = overlap.shared(splits) if chief else {}
  for name, count in shared.items():
    if count:
      logging.warning(
        "%d of the %d utterances of data.%s are in the training set: its error "
        "rates are not those of unseen speech",
        count,
        len(splits[name]),
        name,
      )
  if saved:
    tokenizer = opening.load_tokenizer(directory)
  else:
    tokenizer = datasets.make_tokenizer(config, splits["train"])

  # ---- Model, optimizer, checkpoint ------------------------------------------
  source = None
  if config.init_from and not saved:
    source = pretraining.read(config.init_from)
  with strategy.scope():
    model = experiment.compile_model(config, tokenizer.vocab_size, per_core)
    if source is not None:
      pretraining.copy_encoder(source, model)
    saver = checkpoints.Checkpoints(
      directory,
      model,
      config.keep_checkpoints,
      chief,
      origin.Origin(tokenizer.digest(), config),
    )
    saver.restore(saved)
  # Before the config: what it says of checkpoints must be true of the lines.
  writer = metrics.Writer(directory, saved) if chief else None
  if chief:
    saved_config.save_config(directory, config, tokenizer.digest())
    opening.save_tokenizer(directory, tokenizer)
  parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
  logging.info(
    "%s parameters, %d labels, %d utterances, %s; from step %d",
    f"{parameters:,}",
    tokenizer.vocab_size,
    len(splits["train"]),
    clipping,
    saved,
  )

  # ---- Canaries, for launch.audit --------------------------------------------
  inserted = of_run.prepare(
    config, directory, splits, tokenizer, model.fits, write=chief
  )

  # ---- Batches ---------------------------------------------------------------
  batches = batching.Batches(
    splits["train"],
    tokenizer,
    config.batch,
    config.data.buckets_seconds or None,
    seed=config.seed,
    fits_lengths=model.fits_lengths,
    cores=cores,
    inserted=inserted and inserted.insertions(),
    total_steps=config.steps,
    damaged_limit=config.data.damaged_limit,
    augmentation=datasets.make_augmentation(config),
  )

  if saved == 0 and source is None:
    head = batches.dataset(stop_step=min(_ADAPT_STEPS, config.steps))
    model.adapt(x for x, _ in head)

  def pipeline(context):
    dataset = batches.dataset(
      start_step=saved,
      stop_step=config.steps,
      num_pipelines=context.num_input_pipelines,
      pipeline=context.input_pipeline_id,
      on_host=datasets.read_on_hosts(config, strategy, context),
    )
    return dataset.rebatch(per_core, drop_remainder=True)

  # ---- Steps -----------------------------------------------------------------
  summary_path = files.join(directory, "summary.json")
  if chief and saved < config.steps and tf.io.gfile.exists(summary_path):
    # Stale once training continues.
    tf.io.gfile.remove(summary_path)
  progress = bars.make(
    total=config.steps,
    initial=saved,
    # It takes as long as hundreds of steps, at a bar that stands still.
    desc="tracing the first step" if saved < config.steps else None,
    unit="step",
    disable=not chief,
    dynamic_ncols=True,
  )
  run = stepping.step_function(model, strategy)
  evaluation = driver_.Driver(model, tokenizer, config.evaluation_batch)
  iterator = iter(strategy.distribute_datasets_from_function(pipeline))
  seconds, timed, step = 0.0, 0, saved
  alone = not replicas.spans_workers(strategy)

  def save(step, wait):
    saver.wait()
    health.require_finite(model, step, config, directory)
    saver.save(step, wait)

  with progress, interruption.Interruption(strategy) as interrupted, saver:
    while step < config.steps:
      count = min(config.steps_per_call, config.steps - step)
      start = time.perf_counter()
      with host_reading.damage_named(batches, range(step, step + count)):
        run(iterator, count)
      elapsed = time.perf_counter() - start
      progress.set_description(refresh=False)
      if step > saved:
        # The first call traces; it says nothing about speed.
        seconds, timed = seconds + elapsed, timed + count
      previous, step = step, step + count
      last = step >= config.steps

      def due(every, previous=previous, step=step):
        return every and previous // every != step // every

      line = {}
      if log := due(config.log_every) or last:
        line |= _measure(model)
        # Without clipping there is no bound.
        shown = {"loss": "loss", "clip_bound": "bound"}
        progress.set_postfix(
          {to: f"{line[key]:.3g}" for key, to in shown.items() if key in line},
          refresh=False,
        )
      progress.update(count)
      if due(config.validate_every) and chief and "validation" in splits:
        found = evaluating.validate(evaluation, splits["validation"], config)
        line |= {f"validation_{name}": value for name, value in found.items()}
      require_mine()
      if writer and line:
        writer.write({"step": step, **line})
      if line.get("skipped_in_a_row"):
        # The message names the newest checkpoint.
        saver.wait()
      health.require_live(line, step, config, directory)
      # After the line, which a resumed run would write again.
      if due(config.checkpoint_every) or last:
        save(step, wait=last)
      # Asking the other workers costs as much as measuring.
      if (alone or log) and interrupted.requested():
        save(step, wait=True)
        raise KeyboardInterrupt

  # ---- The end: error rates of unseen speech ---------------------------------
  summary = {
    "steps": step,
    "seconds_per_step": seconds / timed if timed else None,
    "cores": cores,
    "batch": config.batch,
    "parameters": parameters,
    "training_utterances": batches.utterances,
    "buckets_seconds": {
      f"{samples / audio.SAMPLE_RATE:g}": size / batches.utterances
      for samples, size in zip(batches.shapes, batches.bucket_sizes)
    },
    "filtered": {why: len(ids) for why, ids in batches.filtered.items()},
    "damaged": batches.damaged,
    "clipping": metrics.finite(
      {"method": config.clipping.method, **_clipping(model)}
    ),
    "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    / 2**20,
    "seed": config.seed,
    "shared_with_training": shared,
  }
  if chief:
    if not timed and tf.io.gfile.exists(summary_path):
      # The run was at its end already.
      earlier = files.read_json(summary_path, "remove it", dict[str, Any])
      summary["seconds_per_step"] = earlier.get("seconds_per_step")
    summary |= evaluating.at_the_end(evaluation, splits, config)
    files.write_json(summary_path, summary)
  return summary


def _measure(model):
  line = {
    **{name: float(v) for name, v in model.get_metrics_result().items()},
    "learning_rate": float(tf.convert_to_tensor(model.optimizer.learning_rate)),
  }
  model.reset_metrics()
  return line | _clipping(model)


def _clipping(model):
  if isinstance(model.optimizer, tf_pcc.PerCoreClipping):
    return model.optimizer.statistics()
  return {}


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  cluster.count_workers()
  if _OUTPUT_LOG.value:
    log_copy.Copy(_OUTPUT_LOG.value, cli.given(_WORKDIR)).start()
  rendezvous.meet(_CONFIG.value, cli.given(_WORKDIR))
  strategy = cluster.make_strategy(_CONFIG.value.cores)
  try:
    summary = train(_CONFIG.value, cli.given(_WORKDIR), strategy, _VERIFY.value)
  except KeyboardInterrupt:
    saved = checkpoints.checkpoint_paths(cli.given(_WORKDIR))
    step = f"from step {saved[-1][0]}" if saved else "from the start"
    print(f"launch.train: stopped; the same command goes on {step}")
    sys.exit(130)
  except tf.errors.OpError as error:
    lost = rendezvous.lost_workers()
    if not lost:
      raise
    logging.debug("", exc_info=error)
    sys.exit(
      f"launch.train: {', '.join(lost)} of TF_CONFIG ended or is out of reach, "
      f"since {time.strftime('%H:%M:%S')} or a little before; the same command "
      "on all workers goes on from the last checkpoint"
    )
  print(evaluating.report(summary))


if __name__ == "__main__":
  cli.run("launch.train", main, required=["workdir"])
