"""A tiny config, and steps as the planner finds them without compiling."""

import dataclasses

from launch.configs import base
from launch.plan import step

GIB = 2**30
TRACED = step.Step(
  parameters=5,
  state_bytes=60,
  flops=7,
  flops_by_layer={"head": 7},
  flops_unknown=(),
  collectives={"CrossReplicaSum": (1, 8)},
  clip="before",
  outside_scope=(),
  suspects={},
  rejected=None,
  tensorflow="2.17.1",
  seconds_to_compile=2.0,
)


def tiny():
  config = base.get_config()
  config.batch = 8
  config.data.buckets_seconds = (0.5,)
  config.tokenizer.kind = "character"
  config.model.fields = {
    "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
    "features": {"mels": 16},
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  return config


def compiled(needed=GIB, available=16 * GIB, **changes):
  """A step that compiles, all of its memory temporaries.

  Args:
    needed: bytes.
    available: bytes.
    **changes: other fields of the step.
  """
  return dataclasses.replace(
    TRACED,
    **{
      "compiles": True,
      "memory": step.Memory(needed, available, 0, needed, 0, 0),
      "collectives_compiled": (step.CompiledCollective("all-reduce", 8, 2),),
      "compiler_flops": 1.0,
      "compiler_bytes": 1.0,
      "compiler_memory": 1,
      "compiler_cpu_seconds": 1.0,
      **changes,
    },
  )


def crowded(needed, available, **changes):
  """A step of which the compiler says only that it does not fit."""
  return dataclasses.replace(
    TRACED,
    **{
      "error": "RESOURCE_EXHAUSTED",
      "memory": step.Memory(needed, available),
      **changes,
    },
  )
