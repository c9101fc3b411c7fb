"""Tables of the report of a comparison."""

from launch.comparison import comparison_report
from tf_pcc import audit


def test_steps_to_a_word_error_rate_are_paired_over_seeds():
  runs = [
    audit.Run(m, seed, (10, 20 + later + seed), (0.4, 0.2), {"auc_all": (0, 1)})
    for m, later in (("batch", 4), ("pcc", 0))
    for seed in (0, 1)
  ]
  rows = audit.matched_wer(runs, "auc_all", "batch", targets=[0.2, 0.1])
  found = {"comparison": {"baseline": "batch", "matched_wer": rows}}
  table = comparison_report.convergence_table(found, "auc_all")
  assert table["headings"][-1] == "minus batch"
  batch, pcc, *unreached = table["rows"]
  assert batch[1] == "20.00%" and batch[-1] == "–"
  assert pcc[2].startswith("20 (") and pcc[-1] == "−4"
  assert [row[2:] for row in unreached] == [["not reached", "–"]] * 2
