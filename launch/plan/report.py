"""A plan in words."""

import math

from launch.plan import estimate, job

_GIB = 2**30
# Lines about what moves the most bytes.
_TRAFFIC = 5


def report(plan: job.Plan) -> str:
  """The plan in words.

  Args:
    plan: `job.Plan`.

  Returns:
    Lines of text.
  """
  topology = plan.topology
  lines = [
    f"{topology.name} ({topology.accelerator_type}): "
    f"{_count(topology.chips, 'chip')}, {_count(topology.hosts, 'host')}, "
    f"{_count(topology.cores, 'core')} x {plan.per_core_batch} utterances, "
    f"{plan.policy}, clipping {plan.clipping['method']}"
  ]
  for bucket in plan.buckets:
    lines += ["", *_bucket(bucket)]
  if measured := plan.measured:
    lines += ["", *_input(plan, measured)]
  if run := plan.run:
    lines += [
      "",
      f"the run, an estimate: {run.steps:,.0f} steps, "
      f"{_duration(run.hours)}, {_digits(run.chip_hours)} chip-hours ("
      f"{_duration(run.hours_at_the_roofline)} at the roofline); "
      "evaluation, checkpoints and start-up are not in it",
      *_stopping(run.stopping),
      *([_cost(run.cost)] if run.cost else []),
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
    yield f"  {_largest(bucket.largest_batch)}"
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
  if found.traffic:
    yield "    what moves the most, in GB (of these in HBM):"
  for moved in found.traffic[:_TRAFFIC]:
    yield (
      f"      {moved.bytes / 1e9:.3f} ({moved.hbm_bytes / 1e9:.3f}): "
      f"{moved.count} x {moved.operation} of {moved.layer}"
      + (", backward" if moved.gradient else "")
    )
  time = bucket.time
  yield (
    f"  a step, an estimate: {time.estimate * 1e3:.2f} ms; roofline "
    f"{time.ideal * 1e3:.2f} ms (compute {time.compute * 1e3:.2f}, "
    f"memory {time.memory * 1e3:.2f}, sum over cores "
    f"{time.all_reduce * 1e3:.2f})"
  )
  for assumption in time.assumptions:
    yield f"    assumes {assumption}"
  need = bucket.need
  yield (
    f"  a host must read {_digits(need.utterances)} utterances/s, "
    f"{_digits(need.bytes / 1e6)} MB/s of 16-bit PCM; at the roofline "
    f"{_digits(need.utterances_at_the_roofline)} utterances/s"
  )
  yield (
    f"  traced and compiled here in {found.seconds_to_compile:.0f} s, "
    f"{_gib(found.compiler_memory)}"
    + (f", with effort {found.effort:g}" if found.effort else "")
  )


def _largest(found):
  """The answer of the search, and between what it lies if it is not near."""
  if found.too_large is None:
    return f"largest batch of a core that was tried, and fits: {found.fits}"
  if found.is_near:
    return (
      f"largest batch of a core that fits: {found.fits}; {found.too_large} "
      "does not"
    )
  return (
    f"largest batch of a core found to fit: {found.fits}; {found.too_large} "
    "does not, and between them nothing was tried"
  )


def _input(plan, measured):
  """What this machine reads against what a host must, and who waits."""
  yield (
    f"measured here, {measured.path}: {_digits(measured.utterances)} "
    f"utterances/s, {_digits(measured.bytes / 1e6)} MB/s"
  )
  needs = [b.need.bytes for b in plan.buckets if b.need]
  if not needs or not measured.bytes:
    return
  share = measured.bytes / max(needs)
  if share >= 1:
    yield (
      f"  such a host reads {share:.1f} times what it must: the chips are the "
      "limit"
    )
  else:
    yield (
      f"  such a host reads {share:.2f} of what it must: input is the limit, a "
      f"step takes {1 / share:.1f} times as long"
    )


def _stopping(stopping):
  notice = estimate.NOTICE_SECONDS
  yield (
    f"from SIGTERM to a saved checkpoint: {_digits(stopping.seconds)} s of the "
    f"{notice:.0f} s that a preemption gives ({stopping.steps_per_call} steps "
    f"a call {_digits(stopping.finishing)} s, {stopping.state_bytes / 1e6:.0f} "
    f"MB at {estimate.SAVING_RATE / 1e6:.0f} MB/s, a guess, "
    f"{_digits(stopping.saving)} s)"
  )
  if stopping.seconds > notice:
    yield "  TOO LONG: lower config.steps_per_call"


def _cost(cost):
  guess = ", a guess (--spot_price)" if cost.spot_is_guessed else ""
  return (
    f"cost: {cost.total:,.2f} at {cost.price:g} a chip-hour; spot "
    f"{cost.spot_total:,.2f} at {cost.spot_price:g}{guess}, without what "
    "preemptions repeat"
  )


def _count(number, what):
  return f"{number} {what}{'' if number == 1 else 's'}"


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
