"""Processes that train copies of a network on their own batches and now and then go on from their mean (local SGD,
arXiv 1805.09767). On a CPU each has a core to itself: two hear almost twice as much as one, two threads a quarter more.

    torchrun --nproc-per-node 2 -m -- training.asr.train ... --threads 1
"""

import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn


class Replica(NamedTuple):
    """The process `rank` of `processes`."""

    rank: int
    processes: int

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and tells."""
        return self.rank == 0


def join() -> Replica:
    """This process, by what torchrun told it; without torchrun it is alone."""
    if "WORLD_SIZE" not in os.environ:
        return Replica(0, 1)
    dist.init_process_group("gloo")
    return Replica(dist.get_rank(), dist.get_world_size())


@torch.no_grad()
def average(network: nn.Module, replica: Replica) -> None:
    """Set each number of the network to the mean of all replicas'. Waits for them."""
    if replica.processes == 1:
        return
    numbers = [value for value in network.state_dict().values() if value.is_floating_point()]
    mean = torch.cat([value.flatten() for value in numbers]) / replica.processes
    dist.all_reduce(mean)
    for value, part in zip(numbers, torch.split(mean, [value.numel() for value in numbers]), strict=True):
        value.copy_(part.view_as(value))
