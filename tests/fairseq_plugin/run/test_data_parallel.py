"""torch's data parallelism as runs have it: on any device, with layers left out, its sums in one order."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

pytest.importorskip("fairseq", reason="fairseq wraps the network")

from fairseq.distributed import ModuleProxyWrapper

from ASDA.fairseq_plugin.run.data_parallel import DataParallel, data_parallel, has_summed, leaves_layers_out, rehearse


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Network(nn.Module):
    def __init__(self, layerdrop: float = 0.0):
        super().__init__()
        self.layerdrop = layerdrop
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.usefixtures("alone")
def test_data_parallel__takes_a_network_on_the_cpu_whatever_gpu_fairseq_names():
    wrapper = DataParallel(Network(), device_ids=[0], output_device=0, gradient_as_bucket_view=True)
    assert data_parallel(wrapper) is data_parallel(ModuleProxyWrapper(wrapper)) is wrapper
    assert data_parallel(Network()) is None and not wrapper.find_unused_parameters


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("layerdrop", "told", "found"), [(0.0, False, False), (0.1, False, True), (0.0, True, True)])
def test_data_parallel__looks_for_parameters_that_a_batch_leaves_out(layerdrop, told, found):
    network = nn.Sequential(Network(layerdrop))
    assert leaves_layers_out(network) == (layerdrop > 0)
    assert DataParallel(network, find_unused_parameters=told).find_unused_parameters == found


@pytest.mark.usefixtures("alone")
def test_has_summed__after_a_backward_pass_that_is_not_the_last_of_an_update():
    model = ModuleProxyWrapper(DataParallel(Network()))
    assert has_summed(model)
    with model.no_sync():
        assert not has_summed(model)
    assert not has_summed(Network())


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("several_batches", [False, True])
def test_rehearse__orders_the_buckets_and_leaves_no_gradient(several_batches):
    wrapper = DataParallel(Network(), gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=1.0)
    wrapper.require_backward_grad_sync = not several_batches
    weights = [p.clone() for p in wrapper.parameters()]
    rehearse(wrapper, optimizer, lambda: wrapper(torch.ones(2, 3)).sum().backward())
    assert wrapper.require_backward_grad_sync == (not several_batches)
    assert all(p.grad is None for p in wrapper.parameters())
    assert all(map(torch.equal, weights, wrapper.parameters()))
    wrapper(torch.ones(2, 3))
    assert wrapper._has_rebuilt_buckets


@pytest.mark.usefixtures("alone")
def test_rehearse__is_for_buckets_that_are_ordered_anew():
    def train_batch():
        raise AssertionError

    optimizer = torch.optim.SGD(Network().parameters(), lr=1.0)
    rehearse(Network(), optimizer, train_batch)
    rehearse(DataParallel(Network(0.1)), optimizer, train_batch)
