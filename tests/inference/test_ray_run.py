"""A run on a Ray cluster without one: parts of the list, blocks of features, workers. With one: test_extract_ray.py."""

import logging
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference import ray_cluster, ray_run
from ASDA.inference import rows as rows_module
from ASDA.inference.clips import Clip
from ASDA.inference.features import Assembly, FeatureSpec
from ASDA.inference.ray_cluster import ClusterError, Workers, choose_workers
from ASDA.inference.ray_run import Arriving, _blocks_of_parts, run_clips_on_ray
from ASDA.inference.ray_worker import REMARK, Work, _blocks, row_schema
from ASDA.inference.windows import BadClip, LoadedClip, Windowing

D = 8
WINDOWING = Windowing(FrontEnd(target_length_frames=64), hop_frames=64)
CLIPS = [Clip(f"/data/{number}.wav", f"{number}.wav") for number in range(20)]


def assembly(number, spec, half=False):
    """A clip of three windows with random hidden states."""
    frames = torch.zeros(170, 128)
    clip = LoadedClip(number, CLIPS[number], 170, 1.7, frames, WINDOWING)
    result = Assembly(clip, spec, half)
    states = torch.Generator().manual_seed(number)
    layers = len(spec.layers) if isinstance(spec.layers, tuple) else 1
    for window in clip.windows:
        result.add(window, spec.wanted(torch.randn(layers, 1 + 4 * 8, D, generator=states)))
    return result


def sent(rows):
    """What is left of rows on their way through Arrow."""
    names = row_schema().names
    return [{name: row.get(name) for name in names} for row in rows]


def work(spec=FeatureSpec(), half=False):  # noqa: B008 (frozen)
    return Work(torch.nn.Identity(), spec, WINDOWING, half, 8, 4, 1, 1, 32_000)


@pytest.fixture
def ray_errors(monkeypatch):
    """Enough of Ray for what goes on in this process."""
    errors = SimpleNamespace(RayError=type("RayError", (Exception,), {}), UserCodeException=type("U", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(exceptions=errors))
    return errors


@pytest.mark.parametrize("in_a_file", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec("all"),
        FeatureSpec("frame", (1, 2)),
        FeatureSpec("utterance"),
        FeatureSpec("utterance", (1, 2)),
        FeatureSpec("patch-grid"),
        FeatureSpec("frame", pool="frequency"),
        FeatureSpec("frame", pool="mean"),
    ],
    ids=str,
)
def test_arriving__features_are_those_that_were_sent(spec, half, in_a_file, monkeypatch):
    if in_a_file:
        monkeypatch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
        monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 500)
    result = assembly(3, spec, half)
    rows = sent(_blocks(result))
    arriving = Arriving(LoadedClip(3, CLIPS[3], 170, 0.0, None, WINDOWING), spec, half)
    assert [arriving.add(row) for row in rows] == [False] * (len(rows) - 1) + [True]
    assert len(rows) > 2 or not (in_a_file and spec.granularity == "all")
    expected, found = result.features(), arriving.features()
    assert torch.equal(found.values, expected.values) and found.values.dtype == expected.values.dtype
    assert torch.equal(found.times_s, expected.times_s) and found.in_memory == expected.in_memory
    assert arriving.num_bytes == expected.values.nbytes and found.is_finite()


def test_arriving__a_missing_block_is_noticed(monkeypatch):
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 500)
    rows = sent(_blocks(assembly(3, FeatureSpec())))
    arriving = Arriving(LoadedClip(3, CLIPS[3], 170, 0.0, None, WINDOWING), FeatureSpec(), False)
    with pytest.raises(ClusterError, match="of .* bytes have arrived"):
        for row in (rows[0], rows[-1]):
            arriving.add(row)


def test_blocks_of_parts__parts_are_those_of_the_whole_list(monkeypatch):
    clips = [*CLIPS[:-1], Clip(b"rel\xff.wav".decode("utf-8", "surrogateescape"), "x")]
    wanted = [0, 3, 4, 5, 11, 19]
    blocks = _blocks_of_parts(clips, wanted, 4)
    assert [block["numbers"].to_pylist() for block in blocks] == [[[0, 3]], [[4, 5]], [[11]], [[19]]]
    (path,) = blocks[-1]["paths"].to_pylist()[0]
    assert path.startswith(b"/") and path.endswith(b"/rel\xff.wav")
    monkeypatch.setattr(ray_run, "MOST_BLOCKS", 2)
    assert [len(block) for block in _blocks_of_parts(clips, wanted, 4)] == [2, 2]
    assert _blocks_of_parts(clips, [], 4) == []


def run(rows, monkeypatch, wanted=(0, 1)):
    monkeypatch.setattr(ray_run, "_rows", lambda *args: iter(sent(rows)))
    return list(run_clips_on_ray(work(), CLIPS, list(wanted), Workers(1, 1, 0)))


@pytest.mark.usefixtures("ray_errors")
def test_run_clips_on_ray__features_errors_and_remarks_in_any_order(monkeypatch, caplog):
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 500)
    first, second = (list(_blocks(assembly(number, FeatureSpec()))) for number in (0, 2))
    remark = {"clip": REMARK, "error": "near silence"}
    bad = {"clip": 1, "error": "the file has 0 bytes", "not_finite": False}
    between = [row for pair in zip(first, second, strict=True) for row in pair]
    with caplog.at_level(logging.WARNING):
        results = run([remark, *between, remark, bad], monkeypatch, (0, 1, 2))
    assert results[-1] == BadClip(1, CLIPS[1], "the file has 0 bytes")
    for result, number in zip(results[:2], (0, 2), strict=True):
        expected = assembly(number, FeatureSpec()).features()
        assert torch.equal(result.features().values, expected.values) and result.clip.clip == CLIPS[number]
    assert [record.message for record in caplog.records] == ["near silence"]


@pytest.mark.usefixtures("ray_errors")
def test_run_clips_on_ray__clips_that_are_lost_or_come_twice_are_errors(monkeypatch):
    rows = list(_blocks(assembly(0, FeatureSpec())))
    with pytest.raises(ClusterError, match=r"1 of 2 clips are lost, the first is /data/1.wav"):
        run(rows, monkeypatch)
    with pytest.raises(ClusterError, match=r"/data/0.wav: has arrived twice"):
        run(rows + rows, monkeypatch)


def test_run_clips_on_ray__a_failure_is_one_line_with_its_cause(monkeypatch, ray_errors):
    failure = ray_errors.RayError("ray::Worker (pid=7)\n  many lines\nTo change retry attempts, ...")
    failure.cause = ValueError("the card is gone\nmore")

    def fail(*_):
        raise failure from SystemError()
        yield

    monkeypatch.setattr(ray_run, "_rows", fail)
    for cause, said in ((failure.cause, "ValueError: the card is gone"), (None, r"RayError: ray::Worker \(pid=7\)")):
        failure.cause = cause
        with pytest.raises(ClusterError, match=f"^the cluster failed: {said}$"):
            list(run_clips_on_ray(work(), CLIPS, [0], Workers(1, 1, 0)))


def node(cpus, gpus=0, alive=True):
    return {"Alive": alive, "Resources": {"CPU": cpus} | ({"GPU": gpus} if gpus else {})}


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ([node(2)], (None, None, "auto"), Workers(1, 2, 0)),
        ([node(2)], (2, 1, "auto"), Workers(2, 1, 0)),
        ([node(2)], (5, 1, "cpu"), Workers(2, 1, 0)),
        ([node(16), node(7), node(64, alive=False)], (None, None, "auto"), Workers(5, 4, 0)),
        ([node(0), node(64, 8), node(64, 8)], (None, None, "auto"), Workers(16, 4, 1)),
        ([node(64, 8)], (2, None, "cuda"), Workers(2, 4, 1)),
        ([node(64, 8)], (None, 4, "cpu"), Workers(16, 4, 0)),
        ([node(8, 8)], (None, None, "auto"), Workers(8, 1, 1)),
    ],
)
def test_choose_workers__what_there_is_room_for(nodes, asked, expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    assert choose_workers(*asked) == expected


@pytest.mark.parametrize(
    ("nodes", "asked", "message"),
    [
        (
            [node(2)],
            (None, 4, "auto"),
            "no machine of the cluster has room for a worker with 4 CPUs; the largest has 2",
        ),
        ([node(2)], (None, None, "cuda"), "--device cuda: the cluster has no GPU"),
        ([], (None, None, "auto"), "no machine of the cluster has room"),
    ],
)
def test_choose_workers__no_room_is_one_line_and_not_a_wait(nodes, asked, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    with pytest.raises(ClusterError, match=message):
        choose_workers(*asked)


def test_connected__without_ray_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'asda\[ray\]'"), ray_cluster.connected("auto", 1):
        pass


class FakeRay:
    """Notes how it is called; `failures` are those of the calls of ``init``, None where one succeeds.

    As Ray does, it takes no number of CPUs where there is a cluster already.
    """

    def __init__(self, *failures, runs=False):
        self.failures, self.runs, self.calls = list(failures), runs, []

    def init(self, address, num_cpus=None, **_):
        self.calls.append((address, num_cpus))
        if address is None and self.runs and num_cpus is not None:
            raise ValueError("When connecting to an existing cluster, num_cpus and num_gpus must not be provided.")
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure

    def is_initialized(self):
        return False

    def shutdown(self):
        self.calls.append("down")

    def get_runtime_context(self):
        return SimpleNamespace(gcs_address="10.0.0.1:6379")


SLOW = Exception("The current node timed out during startup.")
NOBODY = ConnectionError("nobody\nthere")


@pytest.mark.parametrize(
    ("address", "fake", "called", "calls"),
    [
        ("auto", FakeRay(runs=True), "the cluster at 10.0.0.1:6379", [(None, 2), "down", (None, None), "down"]),
        ("auto", FakeRay(), "this machine", [(None, 2), "down"]),
        ("auto", FakeRay(SLOW), "this machine", [(None, 2), "down", (None, 2), "down"]),
        ("local", FakeRay(runs=True), "this machine", [("local", 2), "down"]),
        ("10.0.0.1:6379", FakeRay(), "the cluster at 10.0.0.1:6379", [("10.0.0.1:6379", None), "down"]),
    ],
)
def test_connected__finds_a_cluster_or_starts_one_and_ends_it(address, fake, called, calls, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # so that it is put back
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setattr(ray_cluster, "_import_ray", lambda: fake)
    with ray_cluster.connected(address, 2) as found:
        assert found == called
        assert os.environ.get("RAY_AUTH_MODE") == ("disabled" if called == "this machine" else None)
    assert fake.calls == calls


@pytest.mark.parametrize(
    ("address", "fake", "message"),
    [
        ("10.0.0.1:1", FakeRay(NOBODY), r"--ray 10.0.0.1:1: no cluster can be reached there \(nobody\)"),
        ("auto", FakeRay(NOBODY, runs=True), r"--ray head:6379: no cluster can be reached there \(nobody\)"),
        ("ray://10.0.0.1:10001", FakeRay(), "a Ray client's address"),
        ("local", FakeRay(*[SLOW] * 4), r"--ray local: Ray does not start here \(The current node timed out"),
    ],
)
def test_connected__no_cluster_is_one_line(address, fake, message, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(ray_cluster, "_import_ray", lambda: fake)
    with pytest.raises(ClusterError, match=message) as caught, ray_cluster.connected(address, 2):
        pass
    assert "\n" not in str(caught.value) and fake.calls[-1] == "down" and os.environ["RAY_AUTH_MODE"] == "token"
