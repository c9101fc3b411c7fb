"""Figures read from compiled programs and from errors."""

from launch.plan import hlo

PROGRAM = """
  %all-reduce = f32[4,2]{0,1:T(2,128)S(1)} all-reduce(%fusion.7)
  %sum = (f32[3,16]{1,0}, bf16[16]{0}, /*index=2*/pred[5]{0}) all-reduce(%a)
  %all-reduce-start.1 = f32[8]{0} all-reduce-start(%d), replica_groups={}
  %all-reduce-done.1 = f32[8]{0} all-reduce-done(%all-reduce-start.1)
  %all-to-all.3 = u32[4,1,1]{2,1,0} all-to-all(%broadcast), dimensions={0}
  %p = (f32[2]{0}, f32[2]{0}, u32[], u32[]) collective-permute-start(%e)
  %g = (f32[2]{0}, f32[8]{0}) all-gather-start(%e)
  %fusion = f32[9]{0} fusion(%all-reduce.2), metadata={op_name="all-reduce("}
"""


def test_collectives():
  assert hlo.collectives(PROGRAM) == [
    ("all-reduce", 32, 1),
    ("all-reduce", 3 * 16 * 4 + 32 + 5, 3),
    ("all-reduce", 32, 1),
    ("all-to-all", 16, 1),
    ("collective-permute", 8, 1),
    ("all-gather", 32, 1),
  ]


def test_the_lines_kept_say_the_same():
  lines = hlo.lines_with_collectives(PROGRAM)
  assert hlo.collectives("\n".join(lines)) == hlo.collectives(PROGRAM)
  assert len(lines) == 7


def test_memory():
  assert hlo.memory_needed(
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
    "for HLO temporaries (256.00G) exceeds available HBM (15.75G)."
  ) == (256 * 2**30, int(15.75 * 2**30))
  assert hlo.memory_needed(
    "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.5M of "
    "1.5K hbm. Exceeded hbm capacity by 17.5M."
  ) == (int(17.5 * 2**20), 1536)
  assert hlo.memory_needed("INVALID_ARGUMENT: (2.0G) exceeds") is None
