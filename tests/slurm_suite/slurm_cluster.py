"""A real SLURM of one node for tests: munged, slurmctld and slurmd on the loopback address, without systemd."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
SECONDS = 40

CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also how long a requeued job waits
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.own.pid
SlurmdPidFile={folder}/slurmd.own.pid
ProctrackType=proctrack/{tracking}
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
FirstJobId={first_job}
KillWait=5
MinJobAge=600
SlurmctldTimeout=30
SlurmdTimeout=30
ReturnToService=2
# pretended resources, whatever the machine has
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=160000
PartitionName=test Nodes=localhost Default=YES MaxTime=2-00:00:00 DefMemPerCPU=500 PriorityTier=1 GraceTime=20 State=UP
PartitionName=urgent Nodes=localhost MaxTime=60 DefMemPerCPU=500 PriorityTier=2 State=UP
"""


def why_not() -> str | None:
    """Return why no SLURM can be started here, None if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install slurmctld slurmd slurm-client munge"
    return None if hasattr(os, "geteuid") and os.geteuid() == 0 else "SLURM's daemons can only be started by root here"


class SlurmCluster:
    """Daemons that `start` has started; `environment` leads SLURM's commands to them.

    Args:
        folder: of configuration, state and logs; a path without spaces.
        cpus: pretended number of cores.
    """

    def __init__(self, folder: Path, cpus: int = 4) -> None:
        self.folder, self.cpus = folder, cpus
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        freezer = os.access("/sys/fs/cgroup/freezer/cgroup.procs", os.W_OK)
        # cgroups: a signal reaches the task alone, and a kill all that it has started
        version = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n" if freezer else ""
        (self.folder / "cgroup.conf").write_text(version)
        sockets = [socket.socket() for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        values = {"folder": self.folder, "ports": ports, "tracking": "cgroup" if freezer else "linuxproc"}
        first_job = random.randrange(1000, 10**6)
        (self.folder / "slurm.conf").write_text(CONF.format(**values, first_job=first_job, cpus=self.cpus))
        socket_file = self.folder / "munge.socket"
        files = [f"--socket={socket_file}", f"--pid-file={self.folder}/munged.own.pid"]
        files += [f"--log-file={self.folder}/log/munged.log", f"--seed-file={self.folder}/munged.seed"]
        self.spawn("munged", "--foreground", "--force", f"--key-file={key}", *files)
        self.wait_for(socket_file.exists, "munged")
        self.spawn("slurmctld", "-D", "-i")
        self.spawn("slurmd", "-D")
        self.wait_for(lambda: self.try_command("sinfo", "-h", "-o", "%T").split()[:1] == ["idle"], "slurmd")
        job = self.command("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "true").strip()
        self.wait_for(lambda: "COMPLETED" in self.try_command("scontrol", "show", "job", job), "the first job")

    def spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [name, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self.environment
            )

    def command(self, *words: str) -> str:
        """Return what a command of SLURM's prints; fail if it fails."""
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=os.environ | self.environment)
        assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return done.stdout

    def try_command(self, *words: str) -> str:
        """Return what a command prints; nothing if it fails."""
        try:
            return self.command(*words)
        except (AssertionError, subprocess.TimeoutExpired):
            return ""

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while not condition():
            dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            log = "".join((self.folder / "log" / f"{name}.out").read_text(errors="replace")[-2000:] for name in dead)
            assert time.monotonic() < end, f"{what} isn't ready after {seconds} s; ended: {dead}\n{log}"
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """Kill a daemon as `kill -9` does."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def stop(self) -> None:
        """Cancel all jobs, then end the daemons that were started here."""
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            self.try_command("scancel", "--full", "--user", str(os.getuid()))
            with suppress(AssertionError):
                self.wait_for(lambda: not self.try_command("squeue", "-h").strip(), "the end of the jobs", 20)
        for name in reversed(list(self.daemons)):
            daemon = self.daemons.pop(name)
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
