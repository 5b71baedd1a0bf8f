"""This machine as a `Hardware`."""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.llamacpp.cores import usable_cores
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.machines import CORE_FLOPS
from modelkit.runtime.hardware import amd, apple, nvidia
from modelkit.runtime.hardware.bandwidth import bandwidth
from modelkit.runtime.hardware.looked import Looked
from modelkit.runtime.machine import free_memory, memory


@dataclass(frozen=True)
class Machine:
    """This machine, the version of its GPUs' driver, and what keeps us from GPUs that may be there."""

    hardware: Hardware
    driver: str = ""
    problems: tuple[str, ...] = ()


def here() -> Hardware:
    """This machine: what processes of ours may have of it, and what is free now. Never raises, and ends within
    seconds whatever a driver does."""
    return look().hardware


def look() -> Machine:
    """The same, with what a person should know of its driver."""
    found = [one.look() for one in (nvidia, amd) if one.present()]
    return machine(found, apple.look() if apple.present() else None)


def machine(found: list[Looked], mac: Hardware | None = None) -> Machine:
    """What drivers told, beside processors and memory of this machine. An engine computes on GPUs of one maker: those
    of the first that has some."""
    cores, free = mac.cpus if mac else usable_cores(), free_memory()
    devices: tuple[Device, ...] = next((one.devices for one in found if one.devices), mac.devices if mac else ())
    hardware = Hardware("this machine", devices, cpus=cores, ram=memory(), ram_free=free,
                        cpu_bandwidth=mac.cpu_bandwidth if mac else bandwidth(cores, free),
                        cpu_flops=cores * CORE_FLOPS, source="driver" if devices else "measured")
    return Machine(hardware, next((one.driver for one in found if one.driver), ""),
                   tuple(one.problem for one in found if one.problem))
