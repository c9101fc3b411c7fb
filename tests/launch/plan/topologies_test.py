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
  ("name", "cores", "accelerator"),
  [
    ("v5e:2x4", 8, "v5litepod-8"),
    ("v4:2x2x1", 8, "v4-8"),
    ("v5p:2x2x1", 4, "v5p-8"),
    ("v6e:16x16", 256, "v6e-256"),
  ],
)
def test_a_slice(name, cores, accelerator):
  topology = topologies.parse(name)
  assert topology.cores == cores
  assert topology.accelerator_type == accelerator


def test_the_largest_have_256_cores():
  for chip in topologies.CHIPS.values():
    largest = max(
      topologies.parse(f"{chip.name}:{shape}").cores for shape in chip.shapes
    )
    assert largest == 256


def test_unknown():
  with pytest.raises(ValueError, match="v5e:2x4.*Received: topology='v9:2x2'"):
    topologies.parse("v9:2x2")


@pytest.mark.parametrize(
  "name", ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2"]
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
