# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One run as several processes: how they find each other, said by the environment they start in.

    one process                      nothing
    Slurm (srun)                     SLURM_NTASKS above 1: one process for each GPU
    TPU pod                          TPU_WORKER_HOSTNAMES with several names: one for each host
    anything else, Kubernetes too    JAX_COORDINATOR_ADDRESS=host:port, JAX_NUM_PROCESSES and
                                     JAX_PROCESS_ID; in an Indexed Job of Kubernetes the latter is
                                     its JOB_COMPLETION_INDEX

The last three are also flags of `pali train`. JAX's own runtime does the rest (`jax.distributed`);
what each process then feeds and holds is in pali/sharding.py. docs/scaling.md has the launch lines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

ADDRESS, COUNT, RANK = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
INDEX = "JOB_COMPLETION_INDEX"


def join(environ: Mapping[str, str] = os.environ) -> None:
    """Waits for the other processes of the run, if there are any.

    To be called before anything else of JAX, once, by every process.

    Raises:
      ValueError: the environment names a coordinator, and not how many processes there are.
      RuntimeError: the others did not come within five minutes.
    """
    if (arguments := settings(environ)) is not None:
        jax.distributed.initialize(**arguments)


def meet(what: str) -> None:
    """Returns when every process has come here; `what` names the place, the same in all."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def all_say(yes: bool) -> bool:
    """Whether every process says so; all of them must ask."""
    if jax.process_count() == 1:
        return yes
    return bool(multihost_utils.process_allgather(np.array(yes)).all())


def settings(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """What `jax.distributed.initialize` is called with; None where there is one process.

    >>> settings({})
    >>> settings({"SLURM_NTASKS": "16", "SLURM_PROCID": "3"})
    {}
    """
    if ADDRESS in environ:
        rank = environ.get(RANK, environ.get(INDEX, ""))
        count = environ.get(COUNT, "")
        if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
            raise ValueError(
                f"{ADDRESS} is {environ[ADDRESS]!r}, so this is one of several processes, and "
                f"{COUNT} is {count!r} and {RANK} {rank!r}: set them to how many there are, and to "
                "a number from 0 for each"
            )
        return {
            "coordinator_address": environ[ADDRESS],
            "num_processes": int(count),
            "process_id": int(rank),
            # All devices of this machine, whatever cluster JAX thinks it is in.
            "cluster_detection_method": "deactivate",
        }
    slurm = "SLURM_PROCID" in environ and int(environ.get("SLURM_NTASKS", "1")) > 1
    pod = "," in environ.get("TPU_WORKER_HOSTNAMES", "")
    return {} if slurm or pod else None
