"""What a process that reads strangers' images gives up: memory and time without end, the network, new processes."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import resource
import struct

__all__ = ["deny_network_and_processes", "limit_memory", "limit_time"]

# Linux' uapi: prctl.h, seccomp.h, bpf_common.h, audit.h.
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_CLONE_THREAD = 0x00010000
_X86_64 = 0xC000003E
# Numbers from here on are those of the x32 ABI, which names the same calls a second time.
_X32 = 0x40000000
_SYS_SECCOMP, _SYS_CLONE, _SYS_CLONE3 = 317, 56, 435

# x86-64 numbers. The stub talks to Triton through shared memory and needs none of these once it has started.
_DENIED = {
    "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53, "accept4": 288,
    "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,
    # Ways around the others, and into the kernel.
    "io_uring_setup": 425, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "keyctl": 250, "add_key": 248,
    "unshare": 272, "setns": 308, "mount": 165, "pivot_root": 155, "chroot": 161, "init_module": 175,
    "finit_module": 313, "kexec_load": 246,
}  # fmt: skip


def limit_memory(mebibytes: int) -> None:
    """Let the process map this much more than it has now; what goes beyond is a MemoryError. 0 is no bound.

    Raises OSError.
    """
    if not mebibytes:
        return
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mapped + mebibytes * 1024 * 1024
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def limit_time(seconds: int) -> None:
    """Let the process compute for this much longer; the kernel ends it otherwise. 0 is no bound. Raises OSError.

    The limit counts from the start of the process, so each image moves it on. Whatever hangs in a decoder's loop cannot
    be stopped from outside of it, and a process that is gone is noticed and brought back, where one that hangs is not.
    """
    if not seconds:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def deny_network_and_processes() -> None:
    """Have the kernel refuse sockets, new processes, and ways around that, to all threads and for ever (EPERM).

    Threads may still begin. Raises OSError where the kernel or the container does not let us.
    """
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "the filter is written for x86-64 only")
    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(_program())
    code = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    refused_by = libc.syscall(_SYS_SECCOMP, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, filter_program)
    if refused_by > 0:
        raise OSError(errno.EBUSY, f"thread {refused_by} has a filter of its own")
    _checked(refused_by)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _program() -> list[bytes]:
    """The filter in the kernel's own language (struct sock_filter); jumps count the instructions they skip."""
    refuse = _step(_RETURN, _REFUSE | errno.EPERM)
    allow = _step(_RETURN, _ALLOW)
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_JUMP_IF_EQUAL, _X86_64, then=1),
        refuse,
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_IF_AT_LEAST, _X32, otherwise=1),
        refuse,
        # glibc turns to clone when clone3, whose flags no filter can read, does not exist.
        _step(_JUMP_IF_EQUAL, _SYS_CLONE3, otherwise=1),
        _step(_RETURN, _REFUSE | errno.ENOSYS),
        _step(_JUMP_IF_EQUAL, _SYS_CLONE, otherwise=4),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        _step(_JUMP_IF_ANY_BIT, _CLONE_THREAD, otherwise=1),
        allow,
        refuse,
    ]
    for number in _DENIED.values():
        program += [_step(_JUMP_IF_EQUAL, number, otherwise=1), refuse]
    return [*program, allow]


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)
