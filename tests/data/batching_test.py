"""Training batches: content, order, resume, hosts, filters, insertions."""

import collections

import numpy as np
import pytest

from tf_pcc.data import batching, records, text

RATE = 100  # samples a second: tiny waveforms
TOKENIZER = text.CharacterTokenizer("ABC ")


def _records(count=50, seed=0, longest=300, prefix="u"):
  random = np.random.default_rng(seed)
  lengths = random.integers(30, longest + 1, count)
  return records.MemoryRecords(
    [random.integers(-32768, 32768, n).astype(np.int16) for n in lengths],
    ["".join(random.choice(list("ABC "), 3)) for _ in range(count)],
    ids=[f"{prefix}{i}" for i in range(count)],
    sample_rate=RATE,
  )


def _make(source=None, batch=8, boundaries=(1, 2, 3), **kwargs):
  return batching.Batches(
    source or _records(), TOKENIZER, batch, boundaries, **kwargs
  )


def _steps(dataset, count):
  return [
    tuple(part for d in pair for part in d.values())
    for pair in dataset.take(count).as_numpy_iterator()
  ]


def _assert_equal_steps(first, second):
  assert len(first) == len(second)
  for a, b in zip(first, second):
    for x, y in zip(a, b):
      np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("boundaries", [None, (3,), (1, 2, 3), (0.7, 1.1, 3)])
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_holds_everything_once_but_the_remainder(boundaries, epoch):
  source = _records()
  batches = _make(source, boundaries=boundaries)
  first = epoch * len(batches)
  seen = [i for s in range(first, first + len(batches)) for i in batches.ids(s)]
  assert len(seen) == len(set(seen)) == len(batches) * 8
  assert len(seen) + len(batches.shapes) * 7 >= batches.utterances
  assert set(seen) <= set(source.ids)
  if boundaries != (0.7, 1.1, 3):
    assert not batches.filtered and batches.utterances == 50


def test_over_epochs_the_remainder_is_not_always_the_same():
  batches = _make(boundaries=None)
  seen = {i for s in range(6 * len(batches)) for i in batches.ids(s)}
  assert len(seen) == 50


def test_rows_hold_the_utterances_their_ids_name():
  source = _records()
  batches = _make(source)
  for step in range(len(batches)):
    audio, length, labels, count = batches.batch(step)
    assert audio.shape[1] in batches.shapes
    for row, name in enumerate(batches.ids(step)):
      i = source.ids.index(name)
      assert length[row] == source.samples[i] <= audio.shape[1]
      np.testing.assert_array_equal(audio[row, : length[row]], source.read(i))
      assert not audio[row, length[row] :].any()
      ids = TOKENIZER.encode(source.texts[i])
      assert labels[row, : count[row]].tolist() == ids
      assert not labels[row, count[row] :].any()


def test_dataset_has_floats_and_static_shapes():
  batches = _make(boundaries=None)
  x, y = batches.dataset().element_spec
  samples = int(max(_records().samples))
  assert x["audio"].shape == (8, samples) and x["audio_length"].shape == (8,)
  assert y["labels"].shape == (8, 3) and y["label_length"].shape == (8,)
  ((audio, length, labels, count),) = _steps(batches.dataset(), 1)
  assert audio.dtype == np.float32 and np.abs(audio).max() <= 1
  assert {a.dtype for a in (length, labels, count)} == {np.dtype(np.int32)}
  np.testing.assert_array_equal(audio * 32768, batches.batch(0)[0])
  assert _make().dataset().element_spec[0]["audio"].shape.as_list() == [8, None]


@pytest.mark.parametrize("start", [1, 4, 11])
@pytest.mark.parametrize("insert", [False, True])
def test_resuming_gives_the_tail(start, insert):
  kwargs = {"seed": 3}
  if insert:
    canaries = _records(3, seed=9, prefix="canary")
    kwargs["inserted"] = [batching.Insertion(canaries, i, 4) for i in range(3)]
    kwargs["total_steps"] = 12
  whole = _steps(_make(**kwargs).dataset(), 14)
  tail = _steps(_make(**kwargs).dataset(start_step=start), 14 - start)
  _assert_equal_steps(whole[start:], tail)


def test_dataset_can_stop():
  assert len(_steps(_make().dataset(2, 5), 99)) == 3


def test_seed_decides_the_order():
  def names(**kwargs):
    batches = _make(**kwargs)
    return [i for step in range(4) for i in batches.ids(step)]

  assert names(seed=1) == names(seed=1)
  assert names(seed=1) != names(seed=2)
  assert names()[:8] != names()[8:16]


@pytest.mark.parametrize("pipelines", [2, 4, 8])
def test_hosts_get_contiguous_rows_of_the_global_batch(pipelines):
  batches = _make()
  whole = _steps(batches.dataset(), 4)
  parts = [
    _steps(batches.dataset(num_pipelines=pipelines, pipeline=p), 4)
    for p in range(pipelines)
  ]
  joined = [
    tuple(np.concatenate(arrays) for arrays in zip(*step))
    for step in zip(*parts)
  ]
  _assert_equal_steps(whole, joined)


def test_several_sources():
  first, second = _records(20), _records(30, seed=1, prefix="v")
  batches = _make([first, second], boundaries=None)
  seen = {i for s in range(8 * len(batches)) for i in batches.ids(s)}
  assert seen == {*first.ids, *second.ids}


def test_filters_count_by_reason():
  waveforms = [np.ones(n, np.int16) for n in [50] * 8 + [50, 50, 301, 50, 4, 5]]
  texts = ["AB"] * 8 + ["AX", "", "AB", "ABCAB", "AAC", "AAC"]
  source = records.MemoryRecords(waveforms, texts, sample_rate=RATE)
  seen = []

  def fits(labels, samples):
    seen.append(samples)
    # AAC needs 4 frames: 3 labels and a blank.
    return batching.ctc_length(labels) <= samples - 1

  batches = _make(source, 9, (3,), fits=fits, max_labels=4)
  assert batches.filtered == {
    "unknown_character": ["8"],
    "no_label": ["9"],
    "too_long": ["10"],
    "too_many_labels": ["11"],
    "labels_exceed_frames": ["12"],
  }
  assert batches.utterances == 9 and set(seen) == {50, 4, 5}
  chosen = _make(source, 1, (3,), fits=lambda labels, samples: samples == 5)
  assert chosen.utterances == 1


def test_ctc_length_against_brute_force():
  random = np.random.default_rng(0)
  for _ in range(200):
    labels = random.integers(1, 3, random.integers(0, 6)).tolist()
    path = []
    for label in labels:
      path += [0, label] if path and path[-1] == label else [label]
    assert batching.ctc_length(labels) == len(path)


def test_a_bucket_that_fills_no_batch_joins_the_next():
  lengths = [50] * 3 + [150] * 6
  source = records.MemoryRecords(
    [np.zeros(n, np.int16) for n in lengths], ["A"] * 9, sample_rate=RATE
  )
  batches = _make(source, 4, (1, 2))
  assert batches.shapes == (200,) and batches.utterances == 9
  batches = _make(source, 4, (1, 1.5, 2))
  assert batches.shapes == (150,)


def _of_lengths(lengths):
  return records.MemoryRecords(
    [np.zeros(n, np.int16) for n in lengths],
    ["A"] * len(lengths),
    sample_rate=RATE,
  )


@pytest.mark.parametrize(
  ("lengths", "sizes"),
  [
    # The longest below come up, the one of 90.
    ([50] * 7 + [90] + [150] * 3, {100: 7, 200: 4}),
    # What then is too small below comes up, too.
    ([50] * 4 + [150] * 3, {200: 7}),
    # From two buckets below.
    ([50] * 9 + [150] * 2 + [250], {100: 8, 300: 4}),
    # A small one below the largest was there to fill it already.
    ([50] * 4 + [150] * 2 + [250] * 2, {100: 4, 300: 4}),
    ([50] * 4, {100: 4}),
  ],
)
def test_the_largest_bucket_is_filled_from_below(lengths, sizes):
  batches = _make(_of_lengths(lengths), 4, (1, 2, 3))
  assert dict(zip(batches.shapes, batches.bucket_sizes)) == sizes
  assert not batches.filtered and batches.utterances == len(lengths)
  seen = set()
  for step in range(40 * len(batches)):
    ids = batches.ids(step)
    assert len(set(ids)) == 4
    audio, length, _, _ = batches.batch(step)
    assert audio.shape[1] >= max(length)
    seen.update(ids)
  assert seen == {str(i) for i in range(len(lengths))}


@pytest.mark.parametrize("seed", range(20))
def test_no_utterance_is_left_out_for_its_bucket(seed):
  random = np.random.default_rng(seed)
  lengths = random.integers(1, 501, random.integers(4, 60))
  source = _of_lengths(lengths)
  batches = _make(source, 4, (1, 2, 3, 4, 5))
  assert not batches.filtered and sum(batches.bucket_sizes) == len(lengths)
  assert min(batches.bucket_sizes) >= 4
  assert batches.shapes[-1] >= max(lengths)
  with pytest.raises(ValueError, match="leave a full batch"):
    _make(source, 60, (1, 2, 3, 4, 5))


def test_an_insertion_longer_than_all_utterances_has_no_bucket():
  source, long = _of_lengths([50] * 8), _of_lengths([150])
  inserted = [batching.Insertion(long, 0)]
  with pytest.raises(ValueError, match="100 samples. Received: id='0'"):
    _make(source, 4, (1, 2), inserted=inserted, total_steps=5)


@pytest.mark.parametrize("boundaries", [None, (1, 2, 3)])
def test_insertions_are_exact_even_and_displace_nothing(boundaries):
  source, canaries = _records(), _records(6, seed=5, prefix="canary")
  repeats = [1, 2, 4, 8, 16, 32]
  total = 60
  batches = _make(
    source,
    boundaries=boundaries,
    inserted=[
      batching.Insertion(canaries, i, n) for i, n in enumerate(repeats)
    ],
    total_steps=total,
  )
  places = collections.defaultdict(list)
  for step in range(total + 10):
    for name in batches.ids(step):
      places[name].append(step)
  for name, count in zip(canaries.ids, repeats):
    steps = np.array(places.pop(name))
    assert len(steps) == count and max(steps) < total
    if count > 1:
      # Evenly spread, up to the distance to the next step of its bucket.
      assert np.ptp(np.diff(steps)) <= (1 if boundaries is None else 14)
  rows = (total + 10) * 8 - sum(repeats)
  assert sum(map(len, places.values())) == rows
  if boundaries is None:
    # The stream goes on where it was: 48 of the 50 in each of its epochs.
    counts = np.array([len(places[name]) for name in source.ids])
    assert counts.max() <= -(-rows // 48)


def test_inserted_rows_are_anywhere_in_the_batch():
  canaries = _records(1, seed=5, prefix="canary")
  batches = _make(
    boundaries=None,
    inserted=[batching.Insertion(canaries, 0, 60)],
    total_steps=60,
  )
  rows = [batches.ids(step).index("canary0") for step in range(60)]
  assert set(rows) == set(range(8))


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"batch": 8, "cores": 3}, "global_batch=8, cores=3"),
    ({"batch": 0}, "global_batch=0"),
    ({"batch": 64}, "full batch after filtering. .*global_batch=64"),
    ({"boundaries": (2, 1)}, r"\[2, 1\]"),
    ({"boundaries": ()}, r"seconds=\[\]"),
    ({"inserted": [batching.Insertion(_records(), 0)]}, "total_steps=None"),
    (
      {"inserted": [batching.Insertion(_records(), 0, 0)], "total_steps": 4},
      "repeats=0",
    ),
    (
      {"inserted": [batching.Insertion(_records(), 0, 99)], "total_steps": 4},
      "total_steps=4",
    ),
    (
      {
        "inserted": [
          batching.Insertion(
            records.MemoryRecords([np.zeros(9)], ["Q"], sample_rate=RATE), 0
          )
        ],
        "total_steps": 4,
      },
      "reason=unknown_character",
    ),
  ],
)
def test_bad_arguments(kwargs, message):
  with pytest.raises(ValueError, match=message):
    _make(**kwargs)


def test_bad_pipelines():
  with pytest.raises(ValueError, match="batch=8, num_pipelines=3"):
    _make().dataset(num_pipelines=3)
  with pytest.raises(ValueError, match="pipeline=2"):
    _make().dataset(num_pipelines=2, pipeline=2)


def test_no_records():
  empty = records.MemoryRecords([], [], sample_rate=RATE)
  with pytest.raises(ValueError, match="at least one utterance"):
    _make([empty])
