"""From a config's fields to objects: clipping, optimizer, model.

The one place that reads `config.clipping`, `config.optimizer`, `config.model`
and `config.policy`; train, evaluate, transcribe and benchmark all come here.
"""

import math
import operator

import keras
from ml_collections import config_dict

import tf_pcc
from launch.configs import base
from launch.runs import fused_adam, schedules
from models import registry
from models.speech_model import SpeechModel
from tf_pcc.data import audio

METHODS = ("none", "batch", "pcc", "apcc", "running", "per_example")
# Those that clip no core, and so take no micro-batches.
WITHOUT_CORES = ("none", "batch")
POLICIES = ("float32", "mixed_bfloat16")
# Values of config.clipping.normalize, and of tf_pcc.Clipping.
NORMALIZE = {"auto": "auto", "true": True, "false": False}
# Optimizers whose beta_2 is that of second moments (that of Lion is not).
WITH_BETA_2 = ("adam", "adamw", "adamax", "nadam")
# Smallest value of each whole number.
_SMALLEST = {
  "seed": 0,
  "steps": 1,
  "batch": 1,
  "steps_per_call": 1,
  "log_every": 1,
  "checkpoint_every": 1,
  "validate_every": 0,
  "keep_checkpoints": 0,
  "evaluation_batch": 1,
  "data.words": 0,
  "clipping.microbatches": 1,
  "clipping.batch_clip_norm": 0,
  "clipping.skipped_limit": 0,
  "optimizer.beta_2": 0,
  "optimizer.warmup_steps": 0,
}
# Arguments of Keras optimizers that `config.clipping` stands for.
_INSTEAD = {
  "clipnorm": "clipping.method and clipping.bound",
  "global_clipnorm": "clipping.method and clipping.bound",
  "clipvalue": "clipping.method and clipping.bound",
  "gradient_accumulation_steps": "clipping.microbatches",
  "loss_scale_factor": "policy=mixed_bfloat16, which needs no loss scaling",
  "learning_rate": "optimizer.learning_rate and optimizer.schedule",
}


def check_fields(config: config_dict.ConfigDict) -> None:
  """Refuses what `launch/configs/base.py` does not know, and small numbers.

  Args:
    config: `ConfigDict`.

  Raises:
    ValueError: If a field is unknown, missing or out of range; it is named.
  """

  def names(tree, prefix=""):
    for name, value in tree.items():
      if isinstance(value, config_dict.ConfigDict) and len(value):
        yield from names(value, f"{prefix}{name}.")
      else:
        yield prefix + name

  free = ("model.fields", "optimizer.arguments", "data.utterances")

  def fields(tree):
    return {
      name
      for name in names(tree)
      if name not in free and not name.startswith(tuple(f"{f}." for f in free))
    }

  known, given = fields(base.get_config()), fields(config)
  if known != given:
    raise ValueError(
      "config must have the fields of launch/configs/base.py. Received: "
      f"unknown={sorted(given - known)}, missing={sorted(known - given)}"
    )
  for name, smallest in _SMALLEST.items():
    value = operator.attrgetter(name)(config)
    if not value >= smallest:
      raise ValueError(
        f"{name} must be at least {smallest}. Received: {name}={value}"
      )
  rate = config.optimizer.learning_rate
  if not 0 < rate < math.inf:
    raise ValueError(
      "optimizer.learning_rate must be a finite number above 0. "
      f"Received: optimizer.learning_rate={rate}"
    )
  if not config.optimizer.beta_2 < 1:
    raise ValueError(
      "optimizer.beta_2 must be below 1. "
      f"Received: optimizer.beta_2={config.optimizer.beta_2}"
    )
  buckets = config.data.buckets_seconds
  if any(not seconds > 0 for seconds in buckets):
    raise ValueError(
      "data.buckets_seconds must be above 0. "
      f"Received: data.buckets_seconds={tuple(buckets)}"
    )
  if config.policy not in POLICIES:
    raise ValueError(
      f"policy must be one of {POLICIES}; float16 with loss scaling corrupts "
      f"weights under a Keras 3 strategy. Received: policy={config.policy!r}"
    )


def make_clipping(
  config: config_dict.ConfigDict, per_core_batch: int
) -> tf_pcc.Clipping | None:
  """The clipping a config asks for.

  Args:
    config: the experiment's `ConfigDict`.
    per_core_batch: int, utterances of a core in a step.

  Returns:
    `tf_pcc.Clipping`, or None for method "none".

  Raises:
    ValueError: If the method is unknown or a value out of range.
  """
  fields = config.clipping
  if fields.method not in METHODS:
    raise ValueError(
      f"clipping.method must be one of {METHODS}. "
      f"Received: clipping.method={fields.method!r}"
    )
  if fields.method in WITHOUT_CORES and (
    fields.batch_clip_norm or fields.microbatches > 1
  ):
    raise ValueError(
      f"clipping.method={fields.method} clips no core: microbatches must be 1 "
      "and batch_clip_norm 0 (the norm of batch is clipping.bound). Received: "
      f"clipping.microbatches={fields.microbatches}, "
      f"clipping.batch_clip_norm={fields.batch_clip_norm}"
    )
  if fields.normalize.lower() not in NORMALIZE:
    raise ValueError(
      f"clipping.normalize must be one of {tuple(NORMALIZE)}. "
      f"Received: clipping.normalize={fields.normalize!r}"
    )
  normalize = NORMALIZE[fields.normalize.lower()]
  if fields.method in WITHOUT_CORES and normalize is True:
    raise ValueError(
      f"clipping.method={fields.method} has no bound to divide by: "
      "clipping.normalize must be auto or false. "
      f"Received: clipping.normalize={fields.normalize!r}"
    )
  if fields.method == "none":
    return None
  batch_clip_norm = fields.batch_clip_norm or None
  microbatches = fields.microbatches
  if fields.method == "apcc":
    bound = tf_pcc.MinBound()
  elif fields.method == "running":
    bound = tf_pcc.RunningBound(fields.decay, fields.statistic, fields.quantile)
  elif fields.method == "batch":
    bound, batch_clip_norm = tf_pcc.FixedBound(math.inf), fields.bound
  else:
    bound = tf_pcc.FixedBound(fields.bound)
  if fields.method == "per_example":
    microbatches = per_core_batch
  if per_core_batch % microbatches:
    raise ValueError(
      "clipping.microbatches must divide the batch of a core, "
      f"{per_core_batch}. Received: clipping.microbatches={microbatches}"
    )
  return tf_pcc.Clipping(
    bound=bound,
    microbatches=microbatches,
    batch_clip_norm=batch_clip_norm,
    dead_cores=fields.dead_cores,
    track_cosine=fields.track_cosine,
    normalize=normalize,
  )


def make_optimizer(
  config: config_dict.ConfigDict,
) -> keras.optimizers.Optimizer:
  """The Keras optimizer a config asks for, without clipping.

  Args:
    config: the experiment's `ConfigDict`.

  Returns:
    `keras.optimizers.Optimizer`.

  Raises:
    ValueError: If the optimizer or an argument is unknown, or an argument
      clips, accumulates or scales besides `config.clipping`.
  """
  fields = config.optimizer
  for name, instead in _INSTEAD.items():
    if fields.arguments.get(name) is not None:
      raise ValueError(
        f"optimizer.arguments must not have {name}: use {instead}. "
        f"Received: optimizer.arguments.{name}={fields.arguments[name]!r}"
      )
  schedule = schedules.make_schedule(config)
  arguments = {"learning_rate": schedule, **fields.arguments.to_dict()}
  if fields.name.lower() in WITH_BETA_2:
    if "beta_2" in fields.arguments:
      raise ValueError(
        "optimizer.arguments must not have beta_2: use optimizer.beta_2. "
        "Received: optimizer.arguments.beta_2="
        f"{fields.arguments['beta_2']!r}"
      )
    arguments["beta_2"] = fields.beta_2
  try:
    optimizer = keras.optimizers.get(
      {
        "class_name": fields.name,
        "config": arguments,
      }
    )
  except (ValueError, TypeError) as error:
    raise ValueError(
      "optimizer.name and optimizer.arguments must suit keras.optimizers: "
      f"{error}. Received: optimizer.name={fields.name!r}, "
      f"optimizer.arguments={fields.arguments.to_dict()}"
    ) from error
  if type(optimizer) is keras.optimizers.Adam:
    return fused_adam.FusedAdam.from_config(optimizer.get_config())
  return optimizer


def make_model(config: config_dict.ConfigDict, vocab_size: int) -> SpeechModel:
  """The built, uncompiled model; call it inside `strategy.scope()`.

  Args:
    config: the experiment's `ConfigDict`.
    vocab_size: int, labels with the blank.

  Returns:
    A `tf_pcc.PerCoreModel` of `models.registry`.

  Raises:
    ValueError: If a name or field is not known, or features are of another
      sample rate than all speech here.
  """
  keras.config.set_dtype_policy(config.policy)
  keras.utils.set_random_seed(config.seed)
  fields = {"seed": config.seed, **config.model.fields.to_dict()}
  model = registry.build_model(config.model.name, fields, vocab_size)
  rate = model.log_mel.sample_rate
  if rate != audio.SAMPLE_RATE:
    raise ValueError(
      f"model.fields.features.sample_rate must be {audio.SAMPLE_RATE}, the "
      "rate of all records and of what programs read. Received: "
      f"model.fields.features.sample_rate={rate}"
    )
  return model


def compile_model(
  config: config_dict.ConfigDict, vocab_size: int, per_core_batch: int
) -> SpeechModel:
  """The built model, compiled with the config's optimizer and clipping.

  Call it inside `strategy.scope()`.

  Args:
    config: the experiment's `ConfigDict`.
    vocab_size: int, labels with the blank.
    per_core_batch: int, utterances of a core in a step.

  Returns:
    A `tf_pcc.PerCoreModel` whose optimizer has its variables.

  Raises:
    ValueError: If `make_model`, `make_optimizer` or `make_clipping` raises it.
  """
  model = make_model(config, vocab_size)
  model.compile(
    optimizer=make_optimizer(config),
    clipping=make_clipping(config, per_core_batch),
  )
  model.optimizer.build(model.trainable_variables)
  return model
