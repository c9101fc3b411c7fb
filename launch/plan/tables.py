"""Tables of compiled programs: what clipping costs, and where a model fits.

  python -m launch.plan.tables --table=methods --topologies=v5e:2x4 \\
    --config=launch/configs/librispeech_conformer_ctc.py
  python -m launch.plan.tables --table=sizes --sizes=S,M --topologies=v5e:2x4 \\
    --config=launch/configs/librispeech_conformer_ctc.py
  python -m launch.plan.tables --table=cores --seconds=4
  python -m launch.plan.tables --table=parameters --seconds=2

methods: the clipping methods against none. sizes: memory and step time of each
size on each slice. cores: what APCC adds from 4 to 256 cores. parameters: what
it adds to larger and larger models, compiled up to --largest parameters, by
formula beyond. In the first two, --blocks=2,4 compiles models of so many blocks
and draws a line to the model's own number. A core has --per_core_batch or the
config's utterances, in the last two 4. Of a program that does not fit there is
no more than what the compiler's complaint names. Markdown is printed, and
--json writes the figures. Needs python -m launch.plan --setup.
"""

import dataclasses
import math
from typing import Any

from absl import flags
from ml_collections import config_dict

from launch import cli
from launch.plan import comparing, job, options, table_cells, topologies
from launch.runs import experiment
from models import registry
from tf_pcc import files

_CONFIG = cli.config_flag()
_JSON = cli.json_flag()
_TABLE = flags.DEFINE_enum(
  "table",
  "methods",
  ["methods", "sizes", "cores", "parameters"],
  "What to tabulate.",
)
_TOPOLOGIES = flags.DEFINE_list("topologies", ["v5e:2x4"], "Slices.")
_SIZES = flags.DEFINE_list("sizes", ["S"], "Sizes of the model.")
_METHODS = flags.DEFINE_list("methods", None, "Rows of methods; default: all.")
flags.DEFINE_list(
  "blocks", [], "Two numbers of blocks to compile instead of all."
)
_LARGEST = flags.DEFINE_float(
  "largest", 3e7, "Parameters of the largest model that is compiled."
)

# Which tables a flag is for.
_TABLES_OF_FLAGS = {
  "topologies": ("methods", "sizes"),
  "sizes": ("sizes",),
  "methods": ("methods",),
  "blocks": ("methods", "sizes"),
  "largest": ("parameters",),
}


def check(
  table: str,
  given: dict[str, Any],
  config: config_dict.ConfigDict,
  settings: job.Request,
) -> list[int]:
  """Refuses what no table can be made of, before hours are spent on it.

  Args:
    table: of --table.
    given: the names of the flags that were given, to their values.
    config: the experiment's.
    settings: of the planner.

  Returns:
    The numbers of blocks to compile, empty for all.

  Raises:
    ValueError: If a flag or a field is out of range; it is named.
  """
  experiment.check_fields(config)
  if config.model.name not in registry.MODELS:
    raise ValueError(
      f"model.name must be one of {', '.join(registry.MODELS)}. "
      f"Received: model.name={config.model.name!r}"
    )
  encoders = registry.MODELS[config.model.name].sizes
  known = {
    "topologies": topologies.known(),
    "methods": comparing.METHODS,
    "sizes": encoders,
  }
  for name, value in given.items():
    tables = _TABLES_OF_FLAGS[name]
    if table not in tables:
      raise ValueError(
        f"--{name} is for --table={' or --table='.join(tables)}. "
        f"Received: table={table}, {name}={value}"
      )
    if name in known and (not value or set(value) - set(known[name])):
      raise ValueError(
        f"--{name} must be some of {', '.join(known[name])}. "
        f"Received: {name}={','.join(value)}"
      )
  if math.isnan(given.get("largest", 0.0)):
    raise ValueError("--largest must be a number. Received: largest=nan")
  blocks = _blocks(given.get("blocks"))
  encoder = {f.name for f in dataclasses.fields(next(iter(encoders.values())))}
  if (blocks or table == "parameters") and not {"dim", "blocks"} <= encoder:
    raise ValueError(
      "--blocks and --table=parameters are for encoders of blocks. "
      f"Received: model.name={config.model.name!r}"
    )
  changed, small = [config], None
  slices = given.get("topologies", _TOPOLOGIES.default)
  if table == "methods":
    chosen = given.get("methods", comparing.METHODS)
    changed = [
      comparing.changed(config, **comparing.METHODS[method])
      for method in chosen
    ]
  elif table != "sizes":
    changed, small = (
      [comparing.changed(config, **comparing.METHODS["APCC"])],
      comparing.SMALL_BATCH,
    )
    slices = [f"v5e:{shape}" for shape in comparing.CORES]
  for topology in [topologies.parse(name) for name in slices]:
    for each in changed:
      shape = comparing.shape_of(each, topology, settings, small)
      experiment.make_clipping(each, shape.batch)
  return blocks


def _blocks(given):
  """The numbers of --blocks."""
  if given is None:
    return []
  numbers = [int(n) for n in given if n.isdecimal()]
  if not (len(given) == len(set(numbers)) == 2 and min(numbers) > 0):
    raise ValueError(
      "--blocks must be two numbers of 1 or more, such as 2,4. Received: "
      f"blocks={','.join(given)}"
    )
  return numbers


def main(arguments: list[str]) -> None:
  cli.no_arguments(arguments)
  if _JSON.value:
    files.require_parent(_JSON.value, "--json")
  config = _CONFIG.value
  present = [n for n in _TABLES_OF_FLAGS if flags.FLAGS[n].present]
  given = {name: flags.FLAGS[name].value for name in present}
  settings = options.settings()
  blocks = check(_TABLE.value, given, config, settings)
  slices = _TOPOLOGIES.value
  if _TABLE.value == "methods":
    rows = comparing.methods(config, slices, settings, _METHODS.value, blocks)
  elif _TABLE.value == "sizes":
    rows = comparing.sizes(config, slices, _SIZES.value, settings, blocks)
  elif _TABLE.value == "cores":
    rows = comparing.cores(config, settings)
  else:
    rows = comparing.parameters(config, _LARGEST.value, settings)
  print(table_cells.markdown(rows))
  if _JSON.value:
    files.write_json(_JSON.value, rows)


if __name__ == "__main__":
  cli.run("launch.plan.tables", main)
