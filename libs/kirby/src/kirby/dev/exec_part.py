"""Becomes a part's process: dies with its parent, drops to another account, then execs. Standard library only.

Run as `python -I -S exec_part.py PARENT_PID SIGNAL USER -- ARGV…` ("-" for no user). Asking for the parent-death
signal here, in the child's own program, needs no code between fork and exec in a process that may have threads.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, orphan_signal, user = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    argv = sys.argv[5:]
    if user != "-":
        import pwd

        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    # After setuid: a change of credentials clears the parent-death signal.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        os.execvpe(argv[0], argv, os.environ)  # noqa: S606 - becoming the part is the purpose.
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


main()
