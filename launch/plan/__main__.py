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

import sys

from absl import flags

from launch import cli
from launch.plan import environment, job, options, report, topologies
from tf_pcc import files

_CONFIG = cli.config_flag()
_JSON = cli.json_flag()
_SETUP = flags.DEFINE_bool("setup", False, "Install the compiler, and end.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "A slice, such as v5e:2x4.")
_MAX_BATCH = flags.DEFINE_bool(
  "max_batch", False, "Look for the largest batch of a core that fits."
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
  plan = job.plan(
    _CONFIG.value,
    topologies.parse(_TOPOLOGY.value),
    options.settings(),
    _MAX_BATCH.value,
  )
  print(report.report(plan))
  if _JSON.value:
    files.write_json(_JSON.value, plan.to_json())
  if not plan.fits:
    sys.exit(2)


if __name__ == "__main__":
  cli.run("launch.plan", main)
