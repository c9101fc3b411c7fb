"""tpu_vm.sh resume: what was preempted goes on, and what is in vain ends."""

import pytest

from tests.launch.tpu_cloud import (
  TRIES,
  assert_ended,
  assert_says_how_to_delete,
)


def test_watch_asks_again_where_there_is_no_capacity(cloud):
  cloud.fails("create", 2)
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.calls().count("create") == 3 and cloud.starts == 1


@pytest.mark.parametrize("verb", ["scp", "install", "ssh"])
def test_watch_copies_and_installs_before_it_trains(cloud, verb):
  cloud.fails(verb, TRIES)
  assert_ended(cloud.run("resume", "--watch"))
  calls = cloud.calls()
  assert calls.count("scp") == 1 + (TRIES if verb == "scp" else 1)
  assert calls.count("create") == calls.count("train") == cloud.starts == 1


def test_watch_gives_up_where_training_always_fails(cloud):
  cloud.trains("exit 1")
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "3 starts in a row left no new checkpoint" in done.stderr
  assert_says_how_to_delete(done)
  # One on the new TPU, three on the TPU that was there.
  assert cloud.starts == 4


def test_watch_gives_up_where_installing_always_fails(cloud):
  cloud.fails("install", 999)
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1 and "3 starts in a row" in done.stderr
  assert cloud.calls().count("install") == 4 * TRIES and not cloud.starts


def test_watch_goes_on_where_each_start_leaves_a_checkpoint(cloud):
  cloud.trains(
    "n=$(wc -l < $FAKE/starts); echo $n > $FAKE/bucket/checkpoint;"
    "((n < 7)) || touch $FAKE/bucket/summary.json"
  )
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.starts == 7


def test_no_answer_is_not_a_worker_at_rest(cloud):
  """A second launch.train would write to the directory of the first."""
  cloud.trains(
    "until [[ $(cat $FAKE/fail/probe) == 0 || -e $FAKE/over ]]; do"
    " /bin/sleep 0.1; done; touch $FAKE/bucket/summary.json"
  )
  cloud.fails("probe", 4)
  assert cloud.run("all").returncode == 0
  done = cloud.run("resume")
  assert done.returncode == 1 and "did not answer" in done.stderr
  assert cloud.run("resume", "--watch").returncode == 0
  assert cloud.calls().count("probe") >= 4
  assert cloud.calls().count("train") == cloud.starts == 1


def test_watch_gives_up_on_a_worker_that_never_answers(cloud):
  (cloud.folder / "state").write_text("READY")
  cloud.fails("probe", 999)
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "did not answer, 60 times in a row" in done.stderr


def test_no_tpu_is_made_for_a_run_that_has_ended(cloud):
  (cloud.folder / "bucket/summary.json").touch()
  for flags in ((), ("--watch",)):
    assert_ended(cloud.run("resume", *flags))
  assert set(cloud.calls()) == {"ls", "probe"}


def test_a_run_with_more_steps_has_not_ended(cloud):
  """Its old summary is there until the first of them."""
  summary = "$FAKE/bucket/summary.json"
  cloud.trains(
    f"/bin/sleep 0.3; rm {summary}; /bin/sleep 0.3; touch {summary} $FAKE/ended"
  )
  for step in ("create", "copy", "install"):
    assert cloud.run(step).returncode == 0
  (cloud.folder / "bucket/summary.json").touch()
  assert cloud.run("run").returncode == 0
  assert_ended(cloud.run("resume", "--watch"))
  assert (cloud.folder / "ended").exists() and cloud.starts == 1


def test_not_to_be_told_is_not_gone(cloud):
  (cloud.folder / "state").write_text("READY")
  (cloud.folder / "worker").mkdir()
  cloud.fails("describe", 4)
  done = cloud.run("resume")
  assert done.returncode == 1 and "UNAVAILABLE: no such luck" in done.stderr
  assert "create" not in cloud.calls()
  cloud.fails("describe", 4)
  assert_ended(cloud.run("resume", "--watch"))
  assert "create" not in cloud.calls()


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED", "STOPPED"])
def test_what_was_preempted_is_made_again(cloud, state):
  (cloud.folder / "state").write_text(state)
  (cloud.folder / "worker").mkdir()
  assert cloud.run("resume").returncode == 0
  found = [c for c in cloud.calls() if c in ("delete", "create", "train")]
  assert found == ["delete", "create", "train"]


def test_a_tpu_in_the_making_is_left_alone(cloud):
  (cloud.folder / "state").write_text("CREATING")
  done = cloud.run("resume")
  assert done.returncode == 1 and "is not ready: CREATING" in done.stderr
  assert cloud.calls() == ["ls", "describe", "describe", "request_describe"]


def test_watch_gives_up_on_a_tpu_that_is_never_ready(cloud):
  (cloud.folder / "state").write_text("CREATING")
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "is not ready: CREATING, 60 times in a row" in done.stderr
  assert_says_how_to_delete(done)
