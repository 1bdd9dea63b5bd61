"""Processes as the kernel sees them: starting one in a group of its own, ending a whole tree.

Linux only: it reads `/proc` and uses `prctl`. Standard library only, for the shim.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FREEZE_ROUNDS_MAX = 64
_CHILDREN_FILES = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_libc = ctypes.CDLL(None, use_errno=True)


class CannotStart(Exception):
    """A program could not be started; the text says which and why, for the user."""


def become_supervisor() -> None:
    """Make this process the head of its own tree, free of what a Ray worker handed down.

    Ray blocks SIGINT in its workers, runs them at nice 15 and marks them as the first to be killed
    when memory ends; children inherit all three, and a program that cannot see SIGINT cannot be
    stopped gracefully. As a subreaper this process becomes the parent of every orphan below it.
    """
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _if_permitted(lambda: os.setpriority(os.PRIO_PROCESS, 0, 0))
    _if_permitted(lambda: _write("/proc/self/oom_score_adj", "0"))


def spawn(argv: Sequence[str], cwd: str, env: Mapping[str, str], output: int) -> int:
    """Start a program in its own process group, both outputs on one descriptor; gives its pid.

    It dies with this process whatever happens. Raises CannotStart.
    """
    told, tell = os.pipe()
    try:
        pid = os.fork()
    except OSError as refusal:
        raise CannotStart(f"{argv[0]}: {refusal.strerror}") from None
    if pid == 0:
        _exec(argv, cwd, env, output, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as report:
        problem = report.read().decode()
    if problem:
        os.waitpid(pid, 0)
        raise CannotStart(problem)
    return pid


def _exec(argv: Sequence[str], cwd: str, env: Mapping[str, str], output: int, tell: int) -> None:
    """The child's side of `spawn`; never returns. A successful exec closes `tell` unwritten."""
    subject = cwd
    try:
        os.setpgid(0, 0)
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # Python ignores the first two, and what is ignored stays ignored across an exec.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _if_permitted(lambda: _write("/proc/self/oom_score_adj", "500"))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(cwd)
        subject = argv[0]
        os.execvpe(argv[0], list(argv), env)  # noqa: S606  no shell is wanted
    except BaseException as problem:
        reason = os.strerror(problem.errno or 0) if isinstance(problem, OSError) else str(problem)
        os.write(tell, f"{subject}: {reason}".encode()[:4000])
    finally:
        os._exit(127)


def descendants(root: int) -> list[int]:
    """All processes below `root`, parents first. One look: more may have come meanwhile."""
    found = _children(root)
    for pid in found:  # the list grows while it is walked
        found += _children(pid)
    return found


def end_descendants(root: int) -> None:
    """Kill everything below `root` that can be seen; to be repeated until nothing is left.

    The tree is stopped first, so that a program which keeps forking cannot outrun the killing.
    """
    stopped: set[int] = set()
    for _ in range(_FREEZE_ROUNDS_MAX):
        fresh = set(descendants(root)) - stopped
        if not fresh:
            break
        send(fresh, signal.SIGSTOP)
        stopped |= fresh
    send(stopped, signal.SIGKILL)


def send(pids: Iterable[int], number: int) -> None:
    """Signal processes; those that are gone or not ours are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def send_group(pgid: int, number: int) -> None:
    """Signal a process group, if there still is one."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return


def marked(variable: str, value: str) -> list[int]:
    """Processes of this user whose environment was started with `variable=value`."""
    entry = f"{variable}={value}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and entry in _read(f"/proc/{name}/environ").split(b"\0"):
            found.append(int(name))
    return found


def _children(pid: int) -> list[int]:
    if not _CHILDREN_FILES:
        return _children_by_parent(pid)
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    lists = (_read(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for text in lists for child in text.split()]


def _children_by_parent(pid: int) -> list[int]:
    """The slow way, for kernels without CONFIG_PROC_CHILDREN: ask every process for its parent."""
    parent = str(pid).encode()
    processes = (name for name in os.listdir("/proc") if name.isdigit())
    stats = ((int(name), _read(f"/proc/{name}/stat")) for name in processes)
    # `pid (name) state parent ...`, and the name may hold anything, even parentheses.
    return [child for child, stat in stats if stat.rpartition(b")")[2].split()[1:2] == [parent]]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _if_permitted(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError:
        return
