"""Becomes a command that gets a signal when the process which started it dies.

    python tether.py SIGNAL PARENT_PID COMMAND [ARGUMENT …]

A program of its own because Python cannot safely run code between fork and exec once threads exist.
Only Linux has the call; elsewhere the command simply runs.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    death_signal, parent, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        # A parent that died before the call will send nothing.
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
