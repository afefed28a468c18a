# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes that feed their own rows of every batch, over loopback, against one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pali import processes

ROOT = Path(__file__).parents[1]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(rank, count, port, out):
    devices = f"--xla_force_host_platform_device_count={4 // count}"
    own = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": devices}
    if count > 1:
        own |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}
        own |= {"JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(rank)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/process.py"), str(out)],
        env=os.environ | own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    try:
        for process in processes:
            _, err = process.communicate(timeout=600)
            assert process.returncode == 0, err
    finally:
        for process in processes:
            process.kill()


def test_two_processes_end_where_one_does(tmp_path):
    port = free_port()
    finish([start(rank, 2, port, tmp_path / "two.npz") for rank in range(2)])
    finish([start(0, 1, port, tmp_path / "one.npz")])
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    assert one["losses"] == pytest.approx(two["losses"], rel=1e-6)
    assert one["losses"][0] != one["losses"][1]
    assert sorted(one) == sorted(two)
    for name in one:
        largest = np.abs(one[name]).max()
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-6 * largest, err_msg=name)


def test_the_environment_says_whether_there_are_others():
    assert processes.settings({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) is None
    assert processes.settings({"SLURM_NTASKS": "8"}) is None  # Inside salloc, without srun.
    assert processes.settings({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) == {}
    assert processes.settings({"TPU_WORKER_HOSTNAMES": "localhost"}) is None
    assert processes.settings({"TPU_WORKER_HOSTNAMES": "t0,t1"}) == {}
    indexed = {"JAX_COORDINATOR_ADDRESS": "pali-0.pali:1234", "JOB_COMPLETION_INDEX": "3"}
    found = processes.settings(indexed | {"JAX_NUM_PROCESSES": "4"})
    assert (found["num_processes"], found["process_id"]) == (4, 3)
    for wrong in ({}, {"JAX_NUM_PROCESSES": "3"}, {"JAX_NUM_PROCESSES": "four"}):
        with pytest.raises(ValueError, match="this is one of several processes, and JAX_NUM_PR"):
            processes.settings(indexed | wrong)
