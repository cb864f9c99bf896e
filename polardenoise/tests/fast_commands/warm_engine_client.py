"""What stands for `python` where the warm engine does: asks for a command, and ends as it ends.

Started without site-packages, it imports nothing of ours: `warm_engine_client.py SOCKET -m polardenoise.engine ...`.
"""

import json
import os
import signal
import socket
import sys

address, option, module, *arguments = sys.argv[1:]
assert (option, module) == ("-m", "polardenoise.engine"), sys.argv
request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
    code = int(connection.recv(16) or -signal.SIGKILL)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
