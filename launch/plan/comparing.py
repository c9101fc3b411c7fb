"""Rows of tables: what clipping costs, and where a model fits."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ml_collections import config_dict

from launch.plan import (
  estimate,
  extension,
  job,
  planning,
  table_cells,
  topologies,
)
from models import registry

Row = dict[str, Any]
# Name of a row: the fields of config.clipping it changes.
METHODS = {
  "none": {"method": "none", "microbatches": 1},
  "PCC": {"method": "pcc", "microbatches": 1},
  "APCC": {"method": "apcc", "microbatches": 1},
  "PCC, 2 micro-batches": {"method": "pcc", "microbatches": 2},
}
CORES = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
# A Conformer of 1M to 1B parameters. Of a weight matrix width x width there are
# in a block 8 in the feed-forwards, 5 in the attention, 3 in the convolution
# module; and 3 in the subsampling.
_WIDTHS = (128, 256, 512, 1024, 2048, 3840)
_BLOCKS = 4
_MATRICES = 16 * _BLOCKS + 3
_FLOAT32 = 4
# Utterances of a core in cores and parameters, where --per_core_batch is not
# given.
SMALL_BATCH = 4


@dataclasses.dataclass(frozen=True)
class Added:
  """What APCC does beside the step itself, by formula.

  Attributes:
    flops: a square, a sum and a product for each weight.
    bytes: the gradients read for the norm, and read and written when they are
      scaled, which a compiler may save by fusing.
    reduced: bytes of the norms' sum, two numbers a core.
  """

  flops: int
  bytes: int
  reduced: int


def added_by_formula(parameters: int, cores: int) -> Added:
  """What APCC adds to a model on a slice.

  Args:
    parameters: of the model.
    cores: of the slice.

  Returns:
    `Added`.
  """
  return Added(
    flops=3 * parameters,
    bytes=3 * _FLOAT32 * parameters,
    reduced=2 * _FLOAT32 * cores,
  )


def shape_of(
  config: config_dict.ConfigDict,
  topology: topologies.Topology,
  settings: job.Request,
  batch: int | None = None,
) -> planning.Shape:
  """The longest batch of a core.

  Args:
    config: the experiment's.
    topology: the slice.
    settings: of the planner.
    batch: utterances of a core where the settings have none; None:
      config.batch over the cores.

  Returns:
    `planning.Shape`.

  Raises:
    ValueError: If the config, the slice or the batch cannot be.
  """
  batch = settings.per_core_batch or batch
  if batch is None:
    batch = job.per_core_batch(config, topology)
  return job.shapes(config, batch, settings.seconds, settings.labels)[-1]


def changed(
  config: config_dict.ConfigDict, **clipping: Any
) -> config_dict.ConfigDict:
  """A copy of a config with other fields of its clipping.

  Args:
    config: the experiment's `ConfigDict`; it stays as it is.
    **clipping: fields of its clipping and their values.

  Returns:
    `ConfigDict`.
  """
  config = config.copy_and_resolve_references()
  config.clipping.update(clipping)
  return config


def methods(
  config: config_dict.ConfigDict,
  names: Sequence[str],
  settings: job.Request,
  chosen: Sequence[str] | None = None,
  blocks: Sequence[int] = (),
) -> list[Row]:
  """Rows of the methods on each slice, against no clipping.

  Args:
    config: the experiment's.
    names: slices.
    settings: of the planner.
    chosen: keys of `METHODS`; None: all.
    blocks: two numbers of blocks to compile; empty: all of the model's.

  Returns:
    The rows; the first method of a slice is what the others have more than.
  """
  rows = []
  for name in names:
    topology = topologies.parse(name)
    first = None
    for method in chosen or METHODS:
      made = changed(config, **METHODS[method])
      shape = shape_of(made, topology, settings)
      found = _compiled(made, topology, shape, settings, blocks)
      numbers = table_cells.numbers(found)
      first = first or numbers
      rows.append(
        {
          "slice": name,
          "method": method,
          "HBM, GiB": numbers.needed,
          "GFLOP": table_cells.giga(numbers.flops),
          "more GFLOP": table_cells.more(numbers.flops, first.flops),
          "GB moved": table_cells.giga(numbers.bytes),
          "more GB": table_cells.more(numbers.bytes, first.bytes),
          "collectives": table_cells.known(numbers.collectives),
          "small": table_cells.known(numbers.small),
          "MB all-reduced": table_cells.giga(numbers.reduced, 1e6),
          "compiled in s": f"{found.seconds_to_compile:.0f}",
        }
      )
  return rows


def sizes(
  config: config_dict.ConfigDict,
  names: Sequence[str],
  models: Sequence[str],
  settings: job.Request,
  blocks: Sequence[int] = (),
) -> list[Row]:
  """Rows of each size on each slice.

  Args:
    config: the experiment's.
    names: slices.
    models: sizes of the model.
    settings: of the planner.
    blocks: as in `methods`.

  Returns:
    list of `Row`.
  """
  rows = []
  for size in models:
    made = _resized(config, size=size)
    for name in names:
      topology = topologies.parse(name)
      shape = shape_of(made, topology, settings)
      found = _compiled(made, topology, shape, settings, blocks)
      numbers = table_cells.numbers(found)
      largest, time = "-", "-"
      if found.compiles and found.memory:
        largest = extension.largest_batch(found.memory, shape.batch)
        estimated = estimate.step_time(found, topology).estimate
        time = f"{estimated * 1e3:.0f}"
      rows.append(
        {
          "size": size,
          "parameters": f"{found.parameters / 1e6:.1f}M",
          "slice": name,
          "utterances a core": shape.batch,
          "HBM, GiB": numbers.needed,
          "available": table_cells.gib(topology.chip.memory),
          "fits": "yes" if found.fits else "no",
          "largest": largest,
          "TFLOP counted": f"{found.flops / 1e12:.3f}",
          "compiler's": table_cells.giga(numbers.flops, 1e12),
          "GB moved": table_cells.giga(numbers.bytes, digits=1),
          "ms, estimate": time,
          "compiled in s": f"{found.seconds_to_compile:.0f}",
        }
      )
  return rows


def cores(config: config_dict.ConfigDict, settings: job.Request) -> list[Row]:
  """Rows of what APCC adds, from 4 to 256 cores.

  Args:
    config: the experiment's `ConfigDict`.
    settings: of the planner.

  Returns:
    list of `Row`.
  """
  rows = []
  for shape in CORES:
    topology = topologies.parse(f"v5e:{shape}")
    rows.append({"cores": topology.cores, **_added(config, topology, settings)})
  return rows


def parameters(
  config: config_dict.ConfigDict, largest: float, settings: job.Request
) -> list[Row]:
  """Rows of what APCC adds to larger and larger models, on 8 cores.

  Args:
    config: the experiment's.
    largest: parameters of the largest model that is compiled.
    settings: of the planner.

  Returns:
    list of `Row`.
  """
  topology = topologies.parse("v5e:2x4")
  rows = []
  for width in _WIDTHS:
    encoder = {"dim": width, "blocks": _BLOCKS}
    made = _resized(config, size="tiny", encoder=encoder)
    count = _MATRICES * width**2
    if count > largest:
      formula = added_by_formula(count, topology.cores)
      unknown = (None, None, None, None)
      rows.append(_row(f"about {count / 1e6:,.0f}M", formula, *unknown))
    else:
      rows.append(_added(made, topology, settings))
  return rows


def _compiled(config, topology, shape, settings, blocks=()):
  """The step; blocks: numbers of them to compile, or empty: all."""
  if not blocks:
    return job.make_planner(config, topology, settings).compile(shape)
  fields = config.model.fields.to_dict()
  encoder = fields.get("encoder", {})
  known = registry.MODELS[config.model.name].sizes
  whole = dataclasses.replace(known[fields.get("size", "tiny")], **encoder)
  programs = {}
  for number in blocks:
    made = _resized(config, encoder={**encoder, "blocks": number})
    programs[number] = _compiled(made, topology, shape, settings)
  return extension.of_blocks(programs, whole.blocks)


def _resized(config, **fields):
  config = config.copy_and_resolve_references()
  fields = {**config.model.fields.to_dict(), **fields}
  config.model.fields = config_dict.ConfigDict(fields, convert_dict=False)
  return config


def _added(config, topology, settings):
  """APCC's program less that of no clipping, and the formula."""
  found = {}
  for method in ("none", "APCC"):
    made = changed(config, **METHODS[method])
    shape = shape_of(made, topology, settings, SMALL_BATCH)
    found[method] = table_cells.numbers(
      _compiled(made, topology, shape, settings)
    )
  none, apcc = found["none"], found["APCC"]
  count = none.found.parameters
  return _row(
    f"{count / 1e6:,.2f}M",
    added_by_formula(count, topology.cores),
    *(
      table_cells.less(getattr(apcc, name), getattr(none, name))
      for name in ("flops", "bytes", "collectives", "reduced")
    ),
  )


def _row(count, formula, flops, size, collectives, reduced):
  return {
    "parameters": count,
    "GFLOP more": table_cells.giga(flops, digits=4),
    "GFLOP by formula": table_cells.giga(formula.flops, digits=4),
    "GB more": table_cells.giga(size, digits=4),
    "GB by formula": table_cells.giga(formula.bytes, digits=4),
    "collectives more": table_cells.known(collectives),
    "bytes all-reduced more": table_cells.known(reduced),
    "bytes by formula": formula.reduced,
  }
