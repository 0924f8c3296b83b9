"""freeze.py THREAD: stops one thread of another process, and no other, until standard input ends. A loop on it is stuck then, as it
would be in a deadlock, while the rest of the process runs."""
import ctypes
import os
import sys

SEIZE, INTERRUPT = 0x4206, 0x4207
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, int(sys.argv[1]), 0, 0):
        sys.exit(f"thread {sys.argv[1]}: {os.strerror(ctypes.get_errno())}")
print("frozen", flush=True)
sys.stdin.read()
