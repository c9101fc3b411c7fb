"""Bytes of a program, by layer, against those counted by hand."""

import pytest

from launch.plan import step, traffic

NAMED = 'metadata={op_type="%s" op_name="%s"}'
WRITE = NAMED % ("MatMul", "ctc_1/encoder_1/block_2/dense_3/MatMul_1")
BACK = NAMED % (
  "MatMul",
  "gradient_tape/ctc_1/encoder_1/block_7/dense_1/MatMul/MatMul_2",
)
PLANE_IN_CORE = "f32[9,100]{1,0:T(8,128)S(1)}"
TURNED = "bf16[100,9]{0,1:T(8,128)(2,1)}"
TURNED_IN_CORE = "bf16[100,9]{0,1:T(8,128)(2,1)S(1)}"
COPIES = f"({PLANE_IN_CORE}, f32[9,100]{{1,0:T(8,128)}}, u32[]{{:S(2)}})"
PROGRAM = f"""HloModule step

%fused (p: f32[9,100]) -> f32[9,100] {{
  ROOT %inside = f32[9,100]{{1,0:T(8,128)}} add(%p, %p), {WRITE}
}}

%body (p: f32[4]) -> f32[4] {{
  %p.1 = f32[4]{{0:T(128)}} parameter(0)
  ROOT %loop.1 = f32[4]{{0:T(128)}} fusion(%p.1), calls=%fused, {BACK}
}}

ENTRY %main (Arg_0: f32[9,100], Arg_1: pred[4]) -> f32[9,100] {{
  %Arg_0 = f32[9,100]{{1,0:T(8,128)}} parameter(0)
  %Arg_1 = f32[4]{{0:T(128)}} parameter(1)
  %copy-start.1 = {COPIES} copy-start(%Arg_0)
  %copy-done.1 = {PLANE_IN_CORE} copy-done(%copy-start.1)
  %fusion.1 = {TURNED_IN_CORE} fusion(%copy-done.1, /*index=1*/%Arg_1), {WRITE}
  %nameless.2 = ({TURNED}, pred[3]{{0}}) fusion(%fusion.1), calls=%fused
  %while.1 = f32[4]{{0:T(128)}} while(%Arg_1), condition=%gone, body=%body
  ROOT %get-tuple-element.3 = {TURNED} get-tuple-element(%nameless.2), index=0
}}
"""
# 9 x 100 in tiles of 8 x 128 is 16 x 128.
PLANE = 16 * 128


def test_each_layers_bytes():
  assert traffic.read(PROGRAM) == [
    # The two fusions, one of which has no name.
    step.Traffic(
      *("encoder/block/dense", "MatMul", False, 2),
      (4 + 2 + 2 + 2) * PLANE + 4 * 128 + 3,
      2 * PLANE + 4 * 128 + 3,
    ),
    # It reads 4 bytes an element in HBM, and writes them to the core.
    step.Traffic("an argument", "copy-start", False, 1, 8 * PLANE, 4 * PLANE),
    # A loop's body counts once.
    step.Traffic(
      "encoder/block/dense", "MatMul", True, 1, 2 * 4 * 128, 2 * 4 * 128
    ),
  ]


@pytest.mark.parametrize("branch", ["true_computation", "branch_computations"])
def test_branches(branch):
  called = "%body" if branch.startswith("true") else "{%gone, %body}"
  found = traffic.read(
    PROGRAM.replace(
      "while(%Arg_1), condition=%gone, body=%body",
      f"conditional(%Arg_1), {branch}={called}",
    )
  )
  assert found == traffic.read(PROGRAM)


def test_what_is_no_program():
  assert traffic.read("") == traffic.read("no HLO {\n") == []
