"""Hosts for tests: network namespaces with names and addresses of their own.

They lie inside namespaces of this process, need no rights on most systems, and
are gone when the `Hosts` are closed, whatever has happened.
"""

import functools
import subprocess

# All in one mount namespace: `ip netns` writes to /run, names to /etc/hosts.
SETUP = """
mount -t tmpfs none /run
echo 127.0.0.1 localhost > /run/hosts
ip link add bridge type bridge
ip link set bridge up
for i in $(seq 0 $(($1 - 1))); do
    address=10.77.0.$((i + 1))
    echo $address host$i >> /run/hosts
    ip netns add host$i
    ip link add link$i type veth peer name eth0 netns host$i
    ip link set link$i master bridge up
    ip -n host$i address add $address/24 dev eth0
    ip -n host$i link set eth0 up
    ip -n host$i link set lo up
done
mount --bind /run/hosts /etc/hosts
echo ready
exec cat
"""


class Hosts:
    """Hosts `host0`, `host1`, ... with the addresses 10.77.0.1, 10.77.0.2, ...

    Args:
        count: how many.

    Raises:
        OSError: where the system does not allow it, with its reason.
    """

    def __init__(self, count):
        self.count = count
        self._processes = []
        self._keeper = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", "--mount"]
            + ["sh", "-euc", SETUP, "sh", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._keeper.stdout.readline() != "ready\n":
            _, reason = self._keeper.communicate()
            raise OSError(reason.strip())

    def start(self, host, command, environment, **kwargs):
        """A process on a host, with all that it starts in one pid namespace.

        Args:
            host: number of the host, from 0.
            command: list of strings.
            environment: dict.
            **kwargs: those of `subprocess.Popen`.

        Returns:
            A `subprocess.Popen`; its `kill` ends all processes that it started,
            at once, as when a host loses its power.
        """
        name = f"host{host}"
        process = subprocess.Popen(
            ["nsenter", f"--target={self._keeper.pid}"]
            + ["--user", "--preserve-credentials", "--net", "--mount", "--wd"]
            + ["ip", "netns", "exec", name, "unshare", "--uts", "--pid"]
            + ["--fork", "--kill-child", "--mount-proc"]
            + ["sh", "-c", 'hostname "$0"; exec "$@"', name, *command],
            env=environment,
            **kwargs,
        )
        self._processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self._processes:
            process.kill()
            process.wait()
        self._keeper.communicate()


@functools.cache
def refusal():
    """Why there can be no hosts here; an empty string where there can."""
    try:
        with Hosts(1) as hosts:
            process = hosts.start(
                0, ["true"], {}, stderr=subprocess.PIPE, text=True
            )
            reason = process.communicate()[1]
            return reason.strip() if process.returncode else ""
    except OSError as error:
        return str(error)
