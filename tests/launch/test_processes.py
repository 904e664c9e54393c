"""A process per GPU, or those of NPROC on the CPU."""

import pytest

from ASDA.launch.processes import Processes, choose_processes
from ASDA.launch.settings import LaunchError, Settings


def choose(visible=None, **settings) -> Processes:
    def count() -> int:
        assert visible is not None, "the GPUs need not be counted"
        return visible

    return choose_processes(Settings(**settings), count)


def test_choose_processes__takes_every_visible_gpu_or_as_many_as_told():
    assert choose(4) == Processes("cuda", 4, 4, ("--standalone",))
    assert choose(4, num_gpus=2).everywhere == 2
    assert choose(1).unit == "GPUs"


def test_choose_processes__takes_the_cpu_where_there_is_no_gpu_or_none_wanted():
    assert choose(0) == Processes("cpu", 1, 1, ("--standalone",))
    assert choose(num_gpus=0, num_processes=2) == Processes("cpu", 2, 2, ("--standalone",))
    assert choose(num_gpus=0).unit == "processes"


def test_choose_processes__takes_the_number_of_a_dry_run_as_given():
    assert choose(num_gpus=8, dry_run=True).here == 8


@pytest.mark.parametrize(("visible", "says"), [(2, "only 2 are visible"), (0, "NGPU=0 takes the CPU")])
def test_choose_processes__refuses_more_gpus_than_there_are(visible, says):
    with pytest.raises(LaunchError, match=f"NGPU=4, but .*{says}"):
        choose(visible, num_gpus=4)


def test_choose_processes__several_machines_meet_where_the_settings_say():
    nodes = choose(8, num_nodes=2, rendezvous_endpoint="node7:20041", run_id="41")
    assert (nodes.here, nodes.everywhere) == (8, 16)
    assert nodes.rendezvous == (
        "--nnodes=2",
        "--rdzv_backend=c10d",
        "--rdzv_endpoint=node7:20041",
        "--rdzv_id=41",
    )
    with pytest.raises(LaunchError, match="^set RDZV_ENDPOINT: host:port of one of the 2 machines"):
        choose(8, num_nodes=2)
