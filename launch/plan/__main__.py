"""Plans a training job for a Cloud TPU, without one: memory, time, cost.

  python -m launch.plan --setup
  python -m launch.plan --topology=v5litepod-8 --seconds=4 --json=plan.json
  python -m launch.plan --config=launch/configs/librispeech_conformer_ctc.py \\
    --topology=v5e:2x4 --per_core_batch=32 --max_batch

--setup installs JAX and libtpu in an environment of their own, once. Then the
very training step is traced under a TPUStrategy, goes through TensorFlow's TPU
bridge, and is compiled by libtpu for the slice asked for. It prints the memory,
an estimate of the time, what each host must read (with --measure_input=RECORDS
also what this machine reads), how long a run takes to stop, and with --price=P
what it costs. Exit code 2: the batch does not fit, and the largest that does is
printed; or the bridge or the compiler refuses the step. Results are kept in
~/.cache/tf_pcc/plans.
"""

import dataclasses
import math
import sys

from absl import flags

from launch import cli
from launch.plan import environment, job, options, report, topologies
from tf_pcc import files

_CONFIG = cli.config_flag()
_JSON = cli.json_flag()
_SETUP = flags.DEFINE_bool("setup", False, "Install the compiler, and end.")
_TOPOLOGY = flags.DEFINE_string(
  "topology", None, "A slice, such as v5e:2x4 or v5litepod-8."
)
_MAX_BATCH = flags.DEFINE_bool(
  "max_batch",
  False,
  "Look for the largest batch of a core that fits: six compilations at most.",
)
_PRICE = flags.DEFINE_float(
  "price",
  None,
  "Price of a chip-hour; the run's cost is printed.",
  lower_bound=0.0,
)
_SPOT_PRICE = flags.DEFINE_float(
  "spot_price",
  None,
  "Price of a preemptible chip-hour; default: 0.4 of --price, a guess.",
  lower_bound=0.0,
)
_MEASURE_INPUT = flags.DEFINE_string(
  "measure_input", None, "Directory of records to read from, for ten seconds."
)


def main(arguments: list[str]) -> None:
  cli.no_arguments(arguments)
  if _SETUP.value:
    print(f"ready: {environment.setup(options.environment())}")
    return
  if _TOPOLOGY.value is None:
    raise ValueError(
      "--topology must name a slice: one of "
      f"{', '.join(topologies.known())}. Received: topology=None"
    )
  if _JSON.value:
    files.require_parent(_JSON.value, "--json")
  for flag in (_PRICE, _SPOT_PRICE):
    if flag.value is not None and not math.isfinite(flag.value):
      raise ValueError(
        f"--{flag.name} must be the price of a chip-hour, a finite number. "
        f"Received: {flag.name}={flag.value}"
      )
  if _SPOT_PRICE.value is not None and _PRICE.value is None:
    raise ValueError(
      "--spot_price must come with --price, the price without. Received: "
      f"spot_price={_SPOT_PRICE.value}, price=None"
    )
  settings = dataclasses.replace(
    options.settings(),
    price=_PRICE.value,
    spot_price=_SPOT_PRICE.value,
    measure_input=_MEASURE_INPUT.value,
  )
  topology = topologies.parse(_TOPOLOGY.value)
  plan = job.plan(_CONFIG.value, topology, settings, _MAX_BATCH.value)
  print(report.report(plan))
  if _JSON.value:
    files.write_json(_JSON.value, plan.to_json())
  if not plan.fits:
    sys.exit(2)


if __name__ == "__main__":
  cli.run("launch.plan", main)
