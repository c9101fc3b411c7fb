"""Slices by name, and their memory as libtpu sees it."""

import pytest

from launch.plan import environment, hlo, topologies

# Far more than any chip holds.
TOO_LARGE = """
module {
  func.func @main(%arg0: tensor<64x1073741824xf32>) -> tensor<f32> {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.reduce(%arg0 init: %zero) applies stablehlo.add
      across dimensions = [0, 1]
      : (tensor<64x1073741824xf32>, tensor<f32>) -> tensor<f32>
    return %0 : tensor<f32>
  }
}
"""


@pytest.mark.parametrize(
  ("name", "cores", "accelerator", "hosts"),
  [
    ("v5e:1x1", 1, "v5litepod-1", 1),
    ("v5e:2x2", 4, "v5litepod-4", 1),
    ("v5e:2x4", 8, "v5litepod-8", 1),
    ("v5e:4x4", 16, "v5litepod-16", 4),
    ("v4:2x2x1", 8, "v4-8", 1),
    ("v4:2x2x2", 16, "v4-16", 2),
    ("v5p:2x2x1", 4, "v5p-8", 1),
    ("v6e:1x1", 1, "v6e-1", 1),
    ("v6e:16x16", 256, "v6e-256", 64),
  ],
)
def test_a_slice(name, cores, accelerator, hosts):
  topology = topologies.parse(name)
  assert topology.cores == cores and topology.hosts == hosts
  assert topology.accelerator_type == accelerator
  assert topologies.parse(accelerator) == topology


def test_each_has_an_accelerator_type_of_its_own():
  types = {topologies.parse(n).accelerator_type for n in topologies.known()}
  assert len(types) == len(topologies.known())


def test_the_largest_have_256_cores():
  for chip in topologies.CHIPS.values():
    largest = max(
      topologies.parse(f"{chip.name}:{shape}").cores for shape in chip.shapes
    )
    assert largest == 256


@pytest.mark.parametrize(
  ("name", "known"),
  [
    ("v9:2x2", "v5e:1x1, v5e:2x2, .* such as v5litepod-8"),
    ("v5e:3x3", "v5e:2x4, .* such as v5litepod-8"),
    ("v5e-8", "such as v5litepod-8"),
    ("v5litepod-12", "of v5litepod-1, v5litepod-4, v5litepod-8, .*-256, the"),
    ("v6e-3", "of v6e-1, v6e-4, v6e-8, "),
    ("v4-12", "of v4-8, v4-16, "),
    ("v5p-8x", "of v5p-8, v5p-16, "),
    ("v5litepod-", "of v5litepod-1, "),
  ],
)
def test_what_does_not_exist_is_refused_with_what_does(name, known):
  with pytest.raises(ValueError, match=f"{known}.*topology='{name}'"):
    topologies.parse(name)


@pytest.mark.parametrize(
  "name",
  ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2", "v5e:1x1", "v6e:1x1"],
)
def test_memory_and_cores_are_those_of_libtpu(name, tmp_path):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  (tmp_path / "large.mlir").write_text(TOO_LARGE)
  found = environment.compile_for_tpu(
    tmp_path / "large.mlir", name, tmp_path / "large.json"
  )
  topology = topologies.parse(name)
  assert found["devices"] == topology.cores
  needed, available = hlo.memory_needed(found["error"])
  assert available == topology.chip.memory < needed
