"""A Python in Ray's eyes: `python -IS fork_client.py ADDRESS PROGRAM ARGUMENT…` has `fork_server` run the program.

One of these waits beside each worker, and ends as it does; it imports little, and nothing but the standard library.
"""

import json
import os
import socket
import sys

address, *arguments = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(address)
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109 - pathlib is slow to import
    content = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [content], [1, 2])
    connection.sendall(content[sent:])
    code = int(connection.recv(16) or 1)  # nothing comes where the server is gone
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
