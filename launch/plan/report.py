"""A plan in words."""

import math

from launch.plan import estimate, job

_GIB = 2**30


def report(plan: job.Plan) -> str:
  """The plan in words."""
  topology = plan.topology
  lines = [
    f"{topology.name} ({topology.accelerator_type}): {topology.chips} chips, "
    f"{topology.cores} cores x {plan.per_core_batch} utterances, "
    f"{plan.policy}, clipping {plan.clipping['method']}"
  ]
  for bucket in plan.buckets:
    lines += ["", *_bucket(bucket)]
  if run := plan.run:
    lines += [
      "",
      f"the run, an estimate: {run.steps:,.0f} steps, "
      f"{_duration(run.hours)}, {_digits(run.chip_hours)} chip-hours ("
      f"{_duration(run.hours_at_the_roofline)} at the roofline); "
      "evaluation, checkpoints and start-up are not in it",
      "Not proved by this: that it runs, how fast, and a TPU's arithmetic.",
    ]
  return "\n".join(lines)


def _bucket(bucket):
  found, shape = bucket.step, bucket.shape
  yield (
    f"utterances of {bucket.seconds:.1f} s, {shape.labels} labels of "
    f"{shape.vocab_size}; {found.parameters:,} parameters; traced with "
    f"TensorFlow {found.tensorflow}"
  )
  if found.rejected:
    yield f"  refused: {found.rejected}"
  else:
    yield f"  clip of the gradients: {found.clip} the sum over cores"
  for name in found.outside_scope:
    yield f"  a variable outside the strategy: {name}"
  # Often why it is refused.
  for what, ops in found.suspects.items():
    yield f"  {what}: {', '.join(ops)}"
  for op, places in found.where.items():
    yield f"    {op} is {', '.join(places)}"
  if found.rejected:
    return
  memory = found.memory
  if not found.compiles and not memory:
    yield f"  does not compile: {found.error}"
    return
  verdict = "fits" if found.fits else "DOES NOT FIT"
  yield (
    f"  HBM a core: {_gib(memory.needed)} needed, "
    f"{_gib(memory.available)} available: {verdict}, "
    f"{_gib(abs(memory.spare))} " + ("to spare" if found.fits else "too much")
  )
  if memory.arguments is not None:
    yield (
      f"    arguments {_gib(memory.arguments)}, temporaries "
      f"{_gib(memory.temporaries)}, code {_gib(memory.code)}, other "
      f"outputs {_gib(memory.outputs)}"
    )
  else:
    yield (
      "    needed is what the compiler's complaint names, not all that the "
      "program has"
    )
  if bucket.largest_batch is not None:
    yield f"  largest batch of a core that fits: {bucket.largest_batch}"
  if found.compiles:
    yield from _costs(bucket)


def _costs(bucket):
  found = bucket.step
  traced = sum(number for number, _ in found.collectives.values())
  compiled = found.collectives_compiled
  size = sum(c.bytes for c in compiled)
  yield (
    f"  collectives: {traced} traced, {len(compiled)} compiled "
    f"({estimate.small_collectives(compiled)} of them small), "
    f"{size / 1e6:.2f} MB a step"
  )
  yield (
    f"  operations of a core's step: {found.flops / 1e9:,.1f} GFLOP "
    f"counted from the layers, {found.compiler_flops / 1e9:,.1f} by the "
    f"compiler; {found.compiler_bytes / 1e9:,.1f} GB moved, by the compiler"
  )
  if found.flops_unknown:
    yield f"    not counted: {', '.join(found.flops_unknown)}"
  time = bucket.time
  yield (
    f"  a step, an estimate: {time.estimate * 1e3:.2f} ms; roofline "
    f"{time.ideal * 1e3:.2f} ms (compute {time.compute * 1e3:.2f}, "
    f"memory {time.memory * 1e3:.2f}, sum over cores "
    f"{time.all_reduce * 1e3:.2f})"
  )
  for assumption in time.assumptions:
    yield f"    assumes {assumption}"
  yield (
    f"  traced and compiled here in {found.seconds_to_compile:.0f} s, "
    f"{_gib(found.compiler_memory)}"
    + (f", with effort {found.effort:g}" if found.effort else "")
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
