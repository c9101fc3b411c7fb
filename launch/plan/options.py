"""Flags that launch.plan and launch.plan.tables have in common."""

from absl import flags

from launch.plan import job

_ENVIRONMENT = flags.DEFINE_string(
  "environment", None, "Where the compiler is installed."
)
_CACHE = flags.DEFINE_string(
  "cache", "~/.cache/tf_pcc/plans", "Where results are kept."
)
_PER_CORE_BATCH = flags.DEFINE_integer(
  "per_core_batch",
  None,
  "Utterances of a core; default: config.batch over the cores.",
  lower_bound=1,
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


def environment() -> str | None:
  """--environment, None where it is not given."""
  return _ENVIRONMENT.value


def settings() -> job.Request:
  """What the flags ask of the planner."""
  return job.Request(
    per_core_batch=_PER_CORE_BATCH.value,
    seconds=_SECONDS.value,
    labels=_LABELS.value,
    environment=_ENVIRONMENT.value,
    cache=_CACHE.value,
    effort=_EFFORT.value,
  )
