"""Runs a program that must not outlive whoever started it: `python supervisor.py PARENT PIPE PROGRAM ...`.

PARENT is the process id of who started it, PIPE a file descriptor to which the error number is written when the program
cannot be started. When the parent is gone, however it ended, the program is killed with everything of its session.
This is a file of its own, without imports of ours, so that it starts in a few milliseconds.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.5  # how often to look for the parent, where the kernel does not tell


def signal_at_death_of_parent(number: int) -> None:
    """Have the kernel send a signal to this process when its parent ends; nothing where it cannot (not Linux)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def main(parent: int, pipe: int, command: list[str]) -> None:
    """Run the command; ends as it ends."""

    def kill_all(*_: object) -> None:
        os.killpg(0, signal.SIGKILL)

    def look(*_: object) -> None:
        if os.getppid() != parent:
            kill_all()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, kill_all)
    signal_at_death_of_parent(signal.SIGTERM)
    look()
    os.set_inheritable(pipe, False)
    us, child = os.getpid(), os.fork()
    if child == 0:
        _become(command, us, pipe)
    os.close(pipe)
    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(us, -code)
    os._exit(code)


def _become(command: list[str], parent: int, pipe: int) -> None:
    """Turn this process into the program."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal_at_death_of_parent(signal.SIGKILL)
    try:
        if os.getppid() == parent:
            os.execvp(command[0], command)
    except OSError as error:
        os.write(pipe, str(error.errno).encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
