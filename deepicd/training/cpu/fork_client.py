"""Stand-in Python executable: `python -IS fork_client.py ADDRESS ARGUMENT…` has `fork_server` run what Python would run.

One of these waits for each process that is a fork, and exits with its status. It imports little, and only from the standard
library.
"""

import json
import os
import socket
import sys

address, *arguments = sys.argv[1:]
listed = os.listdir("/proc/self/fd")
descriptors = [int(each) for each in listed if os.path.exists(f"/proc/self/fd/{each}")]  # noqa: PTH110 - not that of the listing
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(address)
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "numbers": descriptors}  # noqa: PTH109 - pathlib is slow to import
    content = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [content], descriptors)
    connection.sendall(content[sent:])
    code = int(connection.recv(16) or 1)  # nothing comes if the server is gone
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
