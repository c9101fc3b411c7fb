"""What a training job would be on a Cloud TPU, without one.

  python -m launch.plan --setup
  python -m launch.plan --topology=v5e:2x4 --seconds=4 --json=plan.json
  python -m launch.plan --config=launch/configs/librispeech_conformer_ctc.py \
    --topology=v5e:2x4 --per_core_batch=32 --max_batch

--setup installs JAX and libtpu in an environment of their own, once. Then the
very training step is traced under a TPUStrategy, goes through TensorFlow's TPU
bridge, and is compiled by libtpu for the slice asked for. Exit code 2: the
batch does not fit, or the bridge or the compiler refuses the step. Results are
kept in ~/.cache/tf_pcc/plans.
"""

import math
import sys

from absl import flags

from launch import cli
from launch.plan import environment, estimate, planning, topologies
from launch.runs import datasets, experiment
from tf_pcc import files

_CONFIG = cli.config_flag()
_JSON = cli.json_flag()
_SETUP = flags.DEFINE_bool("setup", False, "Install the compiler, and end.")
_ENVIRONMENT = flags.DEFINE_string(
  "environment", None, "Where the compiler is installed."
)
_CACHE = flags.DEFINE_string(
  "cache", "~/.cache/tf_pcc/plans", "Where results are kept."
)
_TOPOLOGY = flags.DEFINE_string("topology", None, "A slice, such as v5e:2x4.")
_PER_CORE_BATCH = flags.DEFINE_integer(
  "per_core_batch",
  None,
  "Utterances of a core; default: config.batch over the cores.",
  lower_bound=1,
)
_MAX_BATCH = flags.DEFINE_bool(
  "max_batch", False, "Look for the largest batch of a core that fits."
)
_SECONDS = flags.DEFINE_float(
  "seconds",
  None,
  "Longest utterance, where the config has no buckets.",
  lower_bound=0.1,
)
_LABELS = flags.DEFINE_integer(
  "labels", None, "Labels of the longest utterance.", lower_bound=1
)
_EFFORT = flags.DEFINE_float(
  "effort",
  0.0,
  "XLA's effort: 0 is its own; -1 compiles in a fraction of the time a program "
  "that needs somewhat more memory.",
  lower_bound=-1.0,
  upper_bound=1.0,
)
# Characters and wordpieces of fast English speech; a guess, and printed.
_LABELS_A_SECOND = {"character": 20}
_OTHER_LABELS_A_SECOND = 8
_CHARACTERS = 32
_GIB = 2**30


def shapes(config, batch, seconds=None, labels=None):
  """The batches of a core that a config trains on.

  Args:
    config: the experiment's `ConfigDict`.
    batch: int, utterances of a core.
    seconds: float, the longest utterance, or None: the config's buckets.
    labels: int, of the longest utterance, or None: so many a second.

  Returns:
    list of `planning.Shape`, one a bucket.

  Raises:
    ValueError: when nothing says how long they are, when that is not a number,
      or when the tokenizer's size is in the corpus only.
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


def per_core_batch(config, topology):
  """Utterances of a core when all of the config's batch is spread.

  Raises:
    ValueError: when the cores do not divide it.
  """
  if config.batch % topology.cores:
    raise ValueError(
      "batch must be divisible by the number of cores, "
      f"{topology.cores} in {topology.name}; or give --per_core_batch. "
      f"Received: batch={config.batch}"
    )
  return config.batch // topology.cores


def plan(config, topology, batch=None, largest=False, **options):
  """Plans a training run.

  Args:
    config: the experiment's `ConfigDict`.
    topology: name of a slice.
    batch: int, utterances of a core; None: config.batch over the cores.
    largest: bool, whether to look for the largest batch of every bucket; where
      one does not fit that is done anyway.
    **options: seconds and labels, as in `shapes`; the rest of
      `planning.Planner`.

  Returns:
    dict, as in the JSON that is written.

  Raises:
    ValueError: on a config, slice or batch that cannot be.
  """
  experiment.check_fields(config)
  topology = topologies.parse(topology)
  cores = topology.cores
  if batch is None:
    batch = per_core_batch(config, topology)
  experiment.make_clipping(config, batch)
  seconds, labels = options.pop("seconds", None), options.pop("labels", None)
  wanted = shapes(config, batch, seconds, labels)
  planner = planning.Planner(config, topology, **options)
  multiple = config.clipping.microbatches
  if config.clipping.method == "per_example":
    multiple = 1
  buckets = []
  for shape in wanted:
    found = planner.compile(shape)
    bucket = {
      "seconds": shape.samples / 16000,
      "samples": shape.samples,
      "labels": shape.labels,
      "vocab_size": shape.vocab_size,
      **found,
    }
    if found["compiles"]:
      bucket["time"] = estimate.step_time(found, topology)
    if found["memory"] and (largest or not found["fits"]):
      bucket["largest_batch"] = planner.largest(shape, multiple)
    buckets.append(bucket)
  return {
    "topology": topology.name,
    "accelerator_type": topology.accelerator_type,
    "chips": topology.chips,
    "cores": cores,
    "per_core_batch": batch,
    "model": config.model.to_dict(),
    "policy": config.policy,
    "clipping": config.clipping.to_dict(),
    "buckets": buckets,
    "run": _run(config, topology, batch, buckets),
    "compiler": list(environment.PACKAGES),
  }


def _run(config, topology, batch, buckets):
  """Hours of the config's run, at its number of utterances."""
  if not all(b.get("fits") for b in buckets):
    return None
  # The longest bucket stands for all: an upper bound.
  slowest = max(b["time"]["estimate"] for b in buckets)
  ideal = max(b["time"]["ideal"] for b in buckets)
  steps = config.steps * config.batch / (batch * topology.cores)
  hours = steps * slowest / 3600
  return {
    "utterances": config.steps * config.batch,
    "steps": steps,
    "hours": hours,
    "chip_hours": hours * topology.chips,
    "hours_at_the_roofline": steps * ideal / 3600,
  }


def report(found):
  """The plan in words."""
  lines = [
    f"{found['topology']} ({found['accelerator_type']}): {found['chips']} "
    f"chips, {found['cores']} cores x {found['per_core_batch']} utterances, "
    f"{found['policy']}, clipping {found['clipping']['method']}"
  ]
  for bucket in found["buckets"]:
    lines += ["", *_bucket(bucket)]
  if run := found["run"]:
    lines += [
      "",
      f"the run, an estimate: {run['steps']:,.0f} steps, "
      f"{_duration(run['hours'])}, {_digits(run['chip_hours'])} chip-hours ("
      f"{_duration(run['hours_at_the_roofline'])} at the roofline); "
      "evaluation, checkpoints and start-up are not in it",
      "Not proved by this: that it runs, how fast, and a TPU's arithmetic.",
    ]
  return "\n".join(lines)


def _bucket(bucket):
  yield (
    f"utterances of {bucket['seconds']:.1f} s, {bucket['labels']} labels of "
    f"{bucket['vocab_size']}; {bucket['parameters']:,} parameters"
  )
  if bucket["rejected"]:
    yield f"  refused: {bucket['rejected']}"
  else:
    yield f"  clip of the gradients: {bucket['clip']} the sum over cores"
  for name in bucket["outside_scope"]:
    yield f"  a variable outside the strategy: {name}"
  # Often why it is refused.
  for what, ops in bucket["suspects"].items():
    yield f"  {what}: {', '.join(ops)}"
  for op, places in bucket.get("where", {}).items():
    yield f"    {op} is {', '.join(places)}"
  if bucket["rejected"]:
    return
  memory = bucket["memory"]
  if not bucket["compiles"] and not memory:
    yield f"  does not compile: {bucket['error']}"
    return
  verdict = "fits" if bucket["fits"] else "DOES NOT FIT"
  yield (
    f"  HBM a core: {_gib(memory['needed'])} needed, "
    f"{_gib(memory['available'])} available: {verdict}, "
    f"{_gib(abs(memory['spare']))} "
    + ("to spare" if bucket["fits"] else "too much")
  )
  if "arguments" in memory:
    yield (
      f"    arguments {_gib(memory['arguments'])}, temporaries "
      f"{_gib(memory['temporaries'])}, code {_gib(memory['code'])}, other "
      f"outputs {_gib(memory['outputs'])}"
    )
  else:
    yield (
      "    needed is what the compiler's complaint names, not all that the "
      "program has"
    )
  if "largest_batch" in bucket:
    yield f"  largest batch of a core that fits: {bucket['largest_batch']}"
  if bucket["compiles"]:
    yield from _costs(bucket)


def _costs(bucket):
  traced = sum(number for number, _ in bucket["collectives"].values())
  compiled = bucket["collectives_compiled"]
  size = sum(size for _, size, _ in compiled)
  yield (
    f"  collectives: {traced} traced, {len(compiled)} compiled "
    f"({estimate.small_collectives(compiled)} of them small), "
    f"{size / 1e6:.2f} MB a step"
  )
  yield (
    f"  operations of a core's step: {bucket['flops'] / 1e9:,.1f} GFLOP "
    f"counted from the layers, {bucket['compiler_flops'] / 1e9:,.1f} by the "
    f"compiler; {bucket['compiler_bytes'] / 1e9:,.1f} GB moved, by the compiler"
  )
  if bucket["flops_unknown"]:
    yield f"    not counted: {', '.join(bucket['flops_unknown'])}"
  time = bucket["time"]
  yield (
    f"  a step, an estimate: {time['estimate'] * 1e3:.2f} ms; roofline "
    f"{time['ideal'] * 1e3:.2f} ms (compute {time['compute'] * 1e3:.2f}, "
    f"memory {time['memory'] * 1e3:.2f}, sum over cores "
    f"{time['all_reduce'] * 1e3:.2f})"
  )
  for assumption in time["assumptions"]:
    yield f"    assumes {assumption}"
  yield (
    f"  traced and compiled here in {bucket['seconds_to_compile']:.0f} s, "
    f"{_gib(bucket['compiler_memory'])}"
    + (f", with effort {bucket['effort']:g}" if bucket["effort"] else "")
  )


def _duration(hours):
  if hours >= 1:
    return f"{_digits(hours)} h"
  if hours >= 1 / 60:
    return f"{_digits(hours * 60)} min"
  return f"{_digits(hours * 3600)} s"


def _digits(number):
  """One decimal, or three significant digits where those are more."""
  if number <= 0:
    return "0"
  decimals = max(1, 2 - math.floor(math.log10(number)))
  return f"{number:,.{decimals if number < 10 else 1}f}"


def _gib(size):
  return f"{size / _GIB:.2f} GiB"


def main(arguments):
  cli.no_arguments(arguments)
  if _SETUP.value:
    print(f"ready: {environment.setup(_ENVIRONMENT.value)}")
    return
  if _TOPOLOGY.value is None:
    raise ValueError(
      "--topology must name a slice: one of "
      f"{', '.join(topologies.known())}. Received: topology=None"
    )
  if _JSON.value:
    files.require_parent(_JSON.value, "--json")
  found = plan(
    _CONFIG.value,
    _TOPOLOGY.value,
    _PER_CORE_BATCH.value,
    _MAX_BATCH.value,
    seconds=_SECONDS.value,
    labels=_LABELS.value,
    environment_directory=_ENVIRONMENT.value,
    cache=_CACHE.value,
    effort=_EFFORT.value,
  )
  print(report(found))
  if _JSON.value:
    files.write_json(_JSON.value, found)
  if not all(bucket["fits"] for bucket in found["buckets"]):
    sys.exit(2)


if __name__ == "__main__":
  cli.run("launch.plan", main)
