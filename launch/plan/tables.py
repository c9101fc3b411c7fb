"""Tables of compiled programs: what clipping costs, and where a model fits.

  python -m launch.plan.tables --table=methods --topologies=v5e:2x4 \
    --config=launch/configs/librispeech_conformer_ctc.py
  python -m launch.plan.tables --table=sizes --sizes=S,M --topologies=v5e:2x4 \
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

from absl import flags
from ml_collections import config_dict

from launch import cli
from launch.plan import __main__ as planner_program
from launch.plan import cells, estimate, extension, planning, topologies
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
# Name of a row: the fields of config.clipping it changes.
METHODS = {
  "none": {"method": "none", "microbatches": 1},
  "PCC": {"method": "pcc", "microbatches": 1},
  "APCC": {"method": "apcc", "microbatches": 1},
  "PCC, 2 micro-batches": {"method": "pcc", "microbatches": 2},
}
_CORES = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
# A Conformer of 1M to 1B parameters. Of a weight matrix width x width there are
# in a block 8 in the feed-forwards, 5 in the attention, 3 in the convolution
# module; and 3 in the subsampling.
_WIDTHS = (128, 256, 512, 1024, 2048, 3840)
_BLOCKS = 4
_MATRICES = 16 * _BLOCKS + 3
_FLOAT32 = 4
# Utterances of a core in cores and parameters, where --per_core_batch is not
# given.
_SMALL_BATCH = 4


def added_by_formula(parameters, cores):
  """What APCC does beside the step itself.

  Args:
    parameters: int.
    cores: int.

  Returns:
    dict: "flops", a square and a sum and a product for each weight; "bytes",
    the gradients read for the norm, and read and written when they are scaled,
    which a compiler may save by fusing; "reduced", bytes of the norms' sum, two
    numbers a core.
  """
  return {
    "flops": 3 * parameters,
    "bytes": 3 * _FLOAT32 * parameters,
    "reduced": 2 * _FLOAT32 * cores,
  }


def _found(config, topology, shape, blocks):
  """What is known of a program; blocks: numbers to compile, or empty: all."""
  if not blocks:
    return _planner(config, topology).compile(shape)
  fields = config.model.fields.to_dict()
  encoder = fields.get("encoder", {})
  sizes = registry.MODELS[config.model.name].sizes
  whole = dataclasses.replace(sizes[fields.get("size", "tiny")], **encoder)
  programs = {}
  for number in blocks:
    changed = _resized(config, encoder={**encoder, "blocks": number})
    programs[number] = _planner(changed, topology).compile(shape)
  return extension.of_blocks(programs, whole.blocks)


def check(table, given, config):
  """Refuses what no table can be made of, before hours are spent on it.

  Args:
    table: str, of --table.
    given: dict from the names of the flags that were given to their values.
    config: the experiment's `ConfigDict`.

  Returns:
    list of int, the numbers of blocks to compile, empty for all.

  Raises:
    ValueError: naming the flag or the field.
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
    "methods": METHODS,
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
    chosen = given.get("methods", METHODS)
    changed = [_changed(config, **METHODS[method]) for method in chosen]
  elif table != "sizes":
    changed, small = [_changed(config, **METHODS["APCC"])], _SMALL_BATCH
    slices = [f"v5e:{shape}" for shape in _CORES]
  for topology in [topologies.parse(name) for name in slices]:
    for each in changed:
      experiment.make_clipping(each, _shape(each, topology, small).batch)
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


def _shape(config, topology, batch=None):
  batch = flags.FLAGS.per_core_batch or batch
  if batch is None:
    batch = planner_program.per_core_batch(config, topology)
  seconds, labels = flags.FLAGS.seconds, flags.FLAGS.labels
  return planner_program.shapes(config, batch, seconds, labels)[-1]


def _planner(config, topology):
  return planning.Planner(
    config,
    topology,
    flags.FLAGS.environment,
    flags.FLAGS.cache,
    effort=flags.FLAGS.effort,
  )


def _changed(config, **clipping):
  config = config.copy_and_resolve_references()
  config.clipping.update(clipping)
  return config


def _resized(config, **fields):
  config = config.copy_and_resolve_references()
  fields = {**config.model.fields.to_dict(), **fields}
  config.model.fields = config_dict.ConfigDict(fields, convert_dict=False)
  return config


def methods(config, names, chosen=None, blocks=()):
  """Rows of the methods on each slice, against no clipping.

  Args:
    config: the experiment's `ConfigDict`.
    names: list of str, slices.
    chosen: list of keys of `METHODS`, or None: all.
    blocks: two numbers of blocks to compile, or empty: all of the model's.

  Returns:
    list of dict; the first method of a slice is what the others have more than.
  """
  rows = []
  for name in names:
    topology = topologies.parse(name)
    first = None
    for method in chosen or METHODS:
      changed = _changed(config, **METHODS[method])
      shape = _shape(changed, topology)
      found = cells.row(_found(changed, topology, shape, blocks))
      first = first or found
      rows.append(
        {
          "slice": name,
          "method": method,
          "HBM, GiB": found["needed"],
          "GFLOP": cells.giga(found["flops"]),
          "more": cells.more(found["flops"], first["flops"]),
          "GB moved": cells.giga(found["bytes"]),
          "more ": cells.more(found["bytes"], first["bytes"]),
          "collectives": cells.known(found["collectives"]),
          "small": cells.known(found["small"]),
          "MB all-reduced": cells.giga(found["reduced"], 1e6),
          "compiled in s": f"{found['seconds_to_compile']:.0f}",
        }
      )
  return rows


def sizes(config, names, models, blocks=()):
  """Rows of each size on each slice; blocks as in `methods`."""
  rows = []
  for size in models:
    changed = _resized(config, size=size)
    for name in names:
      topology = topologies.parse(name)
      shape = _shape(changed, topology)
      found = cells.row(_found(changed, topology, shape, blocks))
      memory, time = found["found"]["memory"], None
      if found["found"]["compiles"]:
        time = estimate.step_time(found["found"], topology)
      rows.append(
        {
          "size": size,
          "parameters": f"{found['parameters'] / 1e6:.1f}M",
          "slice": name,
          "utterances a core": shape.batch,
          "HBM, GiB": found["needed"],
          "available": cells.gib(topology.chip.memory),
          "fits": "yes" if found["fits"] else "no",
          "largest": extension.largest_batch(memory, shape.batch)
          if time
          else "-",
          "TFLOP counted": f"{found['counted_flops'] / 1e12:.3f}",
          "compiler's": cells.giga(found["flops"], 1e12),
          "GB moved": cells.giga(found["bytes"], digits=1),
          "ms, estimate": f"{time['estimate'] * 1e3:.0f}" if time else "-",
          "compiled in s": f"{found['seconds_to_compile']:.0f}",
        }
      )
  return rows


def cores(config):
  """Rows of what APCC adds, from 4 to 256 cores."""
  rows = []
  for shape in _CORES:
    topology = topologies.parse(f"v5e:{shape}")
    rows.append({"cores": topology.cores, **_added(config, topology)})
  return rows


def parameters(config, largest):
  """Rows of what APCC adds to larger and larger models, on 8 cores."""
  topology = topologies.parse("v5e:2x4")
  rows = []
  for width in _WIDTHS:
    encoder = {"dim": width, "blocks": _BLOCKS}
    changed = _resized(config, size="tiny", encoder=encoder)
    count = _MATRICES * width**2
    if count > largest:
      formula = added_by_formula(count, topology.cores)
      rows.append(
        {
          "parameters": f"about {count / 1e6:,.0f}M",
          "GFLOP more": "-",
          "by formula": cells.giga(formula["flops"], digits=4),
          "GB more": "-",
          "by formula ": cells.giga(formula["bytes"], digits=4),
          "collectives more": "-",
          "bytes all-reduced more": "-",
          "by formula  ": formula["reduced"],
        }
      )
    else:
      added = _added(changed, topology)
      rows.append(added)
  return rows


def _added(config, topology):
  """APCC's program less that of no clipping, and the formula."""
  found = {}
  for method in ("none", "APCC"):
    changed = _changed(config, **METHODS[method])
    shape = _shape(changed, topology, _SMALL_BATCH)
    found[method] = cells.row(_planner(changed, topology).compile(shape))
  none, apcc = found["none"], found["APCC"]
  formula = added_by_formula(none["parameters"], topology.cores)
  return {
    "parameters": f"{none['parameters'] / 1e6:,.2f}M",
    "GFLOP more": cells.giga(cells.less(apcc, none, "flops"), digits=4),
    "by formula": cells.giga(formula["flops"], digits=4),
    "GB more": cells.giga(cells.less(apcc, none, "bytes"), digits=4),
    "by formula ": cells.giga(formula["bytes"], digits=4),
    "collectives more": cells.known(cells.less(apcc, none, "collectives")),
    "bytes all-reduced more": cells.known(cells.less(apcc, none, "reduced")),
    "by formula  ": formula["reduced"],
  }


def main(arguments):
  cli.no_arguments(arguments)
  if _JSON.value:
    files.require_parent(_JSON.value, "--json")
  config = _CONFIG.value
  present = [n for n in _TABLES_OF_FLAGS if flags.FLAGS[n].present]
  given = {name: flags.FLAGS[name].value for name in present}
  blocks = check(_TABLE.value, given, config)
  if _TABLE.value == "methods":
    rows = methods(config, _TOPOLOGIES.value, _METHODS.value, blocks)
  elif _TABLE.value == "sizes":
    rows = sizes(config, _TOPOLOGIES.value, _SIZES.value, blocks)
  elif _TABLE.value == "cores":
    rows = cores(config)
  else:
    rows = parameters(config, _LARGEST.value)
  print(cells.markdown(rows))
  if _JSON.value:
    files.write_json(_JSON.value, rows)


if __name__ == "__main__":
  cli.run("launch.plan.tables", main)
