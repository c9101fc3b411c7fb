"""A training run planned on a slice: its batches, its steps, its hours."""

import dataclasses
import math
from typing import Any

from ml_collections import config_dict

from launch.plan import (
  environment,
  estimate,
  feeding,
  largest_batch,
  planning,
  step,
  topologies,
)
from launch.runs import datasets, experiment

# Characters and wordpieces of fast English speech; a guess, and printed.
_LABELS_A_SECOND = {"character": 20}
_OTHER_LABELS_A_SECOND = 8
_CHARACTERS = 32


@dataclasses.dataclass(frozen=True)
class Request:
  """What is asked of the planner beside a config and a slice.

  Attributes:
    per_core_batch: utterances of a core; None: config.batch over the cores.
    seconds: the longest utterance; None: the config's buckets.
    labels: of the longest utterance; None: so many a second.
    environment: directory of the compiler; None: the default.
    cache: directory of earlier results.
    effort: XLA's, from -1 to 1; 0 is its own.
    progress: whether to say what is being done.
    price: of a chip-hour, or None.
    spot_price: of a preemptible chip-hour, or None: a guess.
    measure_input: directory of records to read here, or None.
  """

  per_core_batch: int | None = None
  seconds: float | None = None
  labels: int | None = None
  environment: str | None = None
  cache: str = "~/.cache/tf_pcc/plans"
  effort: float = 0.0
  progress: bool = True
  price: float | None = None
  spot_price: float | None = None
  measure_input: str | None = None


@dataclasses.dataclass(frozen=True)
class Bucket:
  """One length of utterances.

  Attributes:
    seconds: of audio.
    shape: of a core's batch.
    step: what is known of it.
    time: an estimate, or None if it does not compile.
    need: what a host must read, or None if it does not compile.
    largest_batch: of a core, or None if it was not sought.
  """

  seconds: float
  shape: planning.Shape
  step: step.Step
  time: estimate.StepTime | None
  need: feeding.Need | None
  largest_batch: largest_batch.Largest | None


@dataclasses.dataclass(frozen=True)
class RunEstimate:
  """All of the config's steps, an estimate from the slowest bucket.

  Attributes:
    utterances: of the run.
    steps: of the slice.
    hours: by the estimate of a step.
    chip_hours: the same, times the chips.
    hours_at_the_roofline: by the roofline of a step.
    stopping: from SIGTERM to a saved checkpoint.
    cost: if a price was given.
  """

  utterances: int
  steps: float
  hours: float
  chip_hours: float
  hours_at_the_roofline: float
  stopping: estimate.Stopping
  cost: estimate.Cost | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
  """A run on a slice.

  Attributes:
    topology: the slice.
    per_core_batch: utterances of a core.
    model: the config's, a dict.
    policy: of Keras' dtypes.
    clipping: the config's, a dict.
    buckets: the shorter first.
    run: None if one of the buckets does not fit.
    compiler: packages that compiled it, with versions.
    measured: what this machine reads, or None if that was not asked.
  """

  topology: topologies.Topology
  per_core_batch: int
  model: dict[str, Any]
  policy: str
  clipping: dict[str, Any]
  buckets: tuple[Bucket, ...]
  run: RunEstimate | None
  compiler: tuple[str, ...]
  measured: feeding.Measured | None = None

  @property
  def fits(self) -> bool:
    """Whether all buckets compile and fit."""
    return all(bucket.step.fits for bucket in self.buckets)

  def to_json(self) -> dict[str, Any]:
    """What --json writes: bytes, seconds and hours, as the fields say."""
    topology = self.topology
    return {
      **{
        field.name: getattr(self, field.name)
        for field in dataclasses.fields(self)
        if field.name not in ("buckets", "measured", "run", "topology")
      },
      "topology": topology.name,
      "accelerator_type": topology.accelerator_type,
      "chips": topology.chips,
      "cores": topology.cores,
      "hosts": topology.hosts,
      "fits": self.fits,
      "buckets": [
        {
          **dataclasses.asdict(bucket),
          "step": {**dataclasses.asdict(bucket.step), "fits": bucket.step.fits},
        }
        for bucket in self.buckets
      ],
      "run": self.run and dataclasses.asdict(self.run),
      "measured": self.measured and dataclasses.asdict(self.measured),
    }


def shapes(
  config: config_dict.ConfigDict,
  batch: int,
  seconds: float | None = None,
  labels: int | None = None,
) -> list[planning.Shape]:
  """The batches of a core that a config trains on.

  Args:
    config: the experiment's.
    batch: utterances of a core.
    seconds: the longest utterance; None: the config's buckets.
    labels: of the longest utterance; None: so many a second.

  Returns:
    One a bucket.

  Raises:
    ValueError: If nothing says how long they are, if that is not a number, or
      if the tokenizer's size is in the corpus only.
  """
  if seconds is not None and not 0 < seconds < math.inf:
    raise ValueError(
      "--seconds must be the length of an utterance, a finite number above 0. "
      f"Received: seconds={seconds}"
    )
  lengths = (seconds,) if seconds else tuple(config.data.buckets_seconds)
  if not lengths:
    raise ValueError(
      "A TPU must know all shapes: give --seconds, the longest utterance, or "
      "data.buckets_seconds in the config. Received: data.buckets_seconds=()"
    )
  kind = config.tokenizer.kind
  if config.tokenizer.path:
    vocab_size = datasets.make_tokenizer(config, None).vocab_size
  elif kind == "character":
    vocab_size = _CHARACTERS
  elif kind in ("wordpiece", "sentencepiece"):
    vocab_size = config.tokenizer.size
  else:
    raise ValueError(
      "The vocabulary must be known without the corpus: give tokenizer.path, a "
      "file of launch.vocabulary. Received: tokenizer.kind="
      f"{kind!r}"
    )
  rate = _LABELS_A_SECOND.get(kind, _OTHER_LABELS_A_SECOND)
  return [
    planning.Shape(
      batch, round(16000 * s), labels or max(round(rate * s), 1), vocab_size
    )
    for s in lengths
  ]


def per_core_batch(
  config: config_dict.ConfigDict, topology: topologies.Topology
) -> int:
  """Utterances of a core when all of the config's batch is spread.

  Args:
    config: the experiment's `ConfigDict`.
    topology: the slice.

  Returns:
    int.

  Raises:
    ValueError: If the cores do not divide it.
  """
  if config.batch % topology.cores:
    raise ValueError(
      "batch must be divisible by the number of cores, "
      f"{topology.cores} in {topology.name}; or give --per_core_batch. "
      f"Received: batch={config.batch}"
    )
  return config.batch // topology.cores


def plan(
  config: config_dict.ConfigDict,
  topology: topologies.Topology,
  settings: Request,
  largest: bool = False,
) -> Plan:
  """Plans a training run.

  Args:
    config: the experiment's.
    topology: the slice.
    settings: what else is asked.
    largest: whether to look for the largest batch of every bucket; where one
      does not fit that is done anyway.

  Returns:
    The plan.

  Raises:
    ValueError: If the config, the slice or the batch cannot be.
  """
  experiment.check_fields(config)
  batch = settings.per_core_batch
  if batch is None:
    batch = per_core_batch(config, topology)
  experiment.make_clipping(config, batch)
  wanted = shapes(config, batch, settings.seconds, settings.labels)
  planner = make_planner(config, topology, settings)
  measured = None
  if settings.measure_input is not None:
    # First, since it may have to be corrected, and takes seconds.
    measured = feeding.measure(config, settings.measure_input, batch, topology)
  multiple = config.clipping.microbatches
  if config.clipping.method == "per_example":
    multiple = 1
  buckets = []
  for shape in wanted:
    found = planner.compile(shape)
    time, need, best = None, None, None
    if found.compiles:
      time = estimate.step_time(found, topology)
      need = feeding.need(shape, topology, time)
    if found.memory and (largest or not found.fits):
      best = planner.largest(shape, multiple)
    buckets.append(
      Bucket(shape.samples / 16000, shape, found, time, need, best)
    )
  return Plan(
    topology=topology,
    per_core_batch=batch,
    model=config.model.to_dict(),
    policy=config.policy,
    clipping=config.clipping.to_dict(),
    buckets=tuple(buckets),
    run=_run(config, topology, batch, buckets, settings),
    compiler=environment.PACKAGES,
    measured=measured,
  )


def make_planner(
  config: config_dict.ConfigDict,
  topology: topologies.Topology,
  settings: Request,
) -> planning.Planner:
  """The planner of a config on a slice.

  Args:
    config: the experiment's `ConfigDict`.
    topology: the slice.
    settings: of the planner.

  Returns:
    `planning.Planner`.

  Raises:
    ValueError: If the effort is out of range, or no compiler is installed.
  """
  return planning.Planner(
    config,
    topology,
    settings.environment,
    settings.cache,
    settings.progress,
    settings.effort,
  )


def _run(config, topology, batch, buckets, settings):
  """Hours of the config's run, at its number of utterances."""
  if not all(b.step.fits for b in buckets):
    return None
  # The longest bucket stands for all: an upper bound.
  slowest = max(b.time.estimate for b in buckets)
  ideal = max(b.time.ideal for b in buckets)
  steps = config.steps * config.batch / (batch * topology.cores)
  hours = steps * slowest / 3600
  chip_hours = hours * topology.chips
  return RunEstimate(
    utterances=config.steps * config.batch,
    steps=steps,
    hours=hours,
    chip_hours=chip_hours,
    hours_at_the_roofline=steps * ideal / 3600,
    stopping=estimate.stopping(
      config.steps_per_call, slowest, buckets[-1].step.state_bytes
    ),
    cost=None
    if settings.price is None
    else estimate.cost(chip_hours, settings.price, settings.spot_price),
  )
